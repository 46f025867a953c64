"""Hidden states inside a model: run the layers up to one, or those above it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.lm.encode import causal_model, model_inputs

if TYPE_CHECKING:
    import torch


class _Reached(Exception):
    """Carries the states out of a forward pass that need not go on."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__("layer reached")
        self.states = states


def decoder_layers(model: torch.nn.Module) -> torch.nn.ModuleList:
    """Return the layers of the decoder, first to last.

    Raises:
        InputError: the architecture keeps them in no list.
    """
    import torch

    base = causal_model(model)
    decoder, size = base.get_decoder(), base.config.get_text_config().num_hidden_layers
    for child in decoder.children():
        if isinstance(child, torch.nn.ModuleList) and len(child) == size:
            return child
    raise InputError("the layers of this architecture are in no list", found=type(base).__name__)


def depth(model: torch.nn.Module) -> int:
    """Return the number of layers."""
    return len(decoder_layers(model))


def checkpoint_layers(model: torch.nn.Module) -> None:
    """Let the layers run again in the backward pass instead of keeping what they computed.

    The kind that needs no gradient at the inputs is chosen: with the other kind, and frozen
    embeddings, an adapter would be trained nowhere and nothing would say so.
    """
    base = causal_model(model)
    switch = getattr(base, "activation_checkpointing_enable", None)
    if switch is None:  # the name before transformers 5.2
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    else:
        switch()


def states_after(
    model: torch.nn.Module, batch: Mapping[str, torch.Tensor], layer: int
) -> torch.Tensor:
    """Run the first `layer` layers, and keep the states that predict answer tokens, (N, D).

    They are float32. The forward pass ends there: the layers above, the last norm and the head do
    not run.

    Args:
        model: with or without an adapter.
        batch: as of `collate`.
        layer: from 1 to the depth.
    """
    states = all_states_after(model, batch, layer)
    kept: torch.Tensor = states[batch["row"], batch["position"]]
    return kept.float()


def all_states_after(
    model: torch.nn.Module, batch: Mapping[str, torch.Tensor], layer: int
) -> torch.Tensor:
    """Run the first `layer` layers and return their output at every position, (B, T, D).

    Raises:
        InputError: the forward pass does not come to the layer.
    """

    def stop(_module: Any, _given: Any, output: Any) -> None:
        raise _Reached(output[0] if isinstance(output, tuple) else output)

    handle = decoder_layers(model)[layer - 1].register_forward_hook(stop)
    try:
        causal_model(model).get_decoder()(**model_inputs(batch))
    except _Reached as reached:
        return reached.states
    finally:
        handle.remove()
    raise InputError(f"the forward pass did not come to layer {layer}")


@contextlib.contextmanager
def after_layer(model: torch.nn.Module, layer: int) -> Iterator[list[torch.Tensor]]:
    """Take what the first `layer` layers give in each forward pass of the block, (B, T, D) each."""
    reached: list[torch.Tensor] = []

    def take(_module: Any, _given: Any, output: Any) -> None:
        reached.append(output[0] if isinstance(output, tuple) else output)

    handle = decoder_layers(model)[layer - 1].register_forward_hook(take)
    try:
        yield reached
    finally:
        handle.remove()


def frozen_below(model: torch.nn.Module) -> int:
    """Return how many of the first layers no training moves; 0 if it moves anything around them.

    The states after them are the same for the model and its reference, at every step.
    """
    try:
        layers = decoder_layers(model)
    except InputError:
        return 0
    moving = [any(p.requires_grad for p in layer.parameters()) for layer in layers]
    inside = {id(p) for layer in layers for p in layer.parameters()}
    if any(p.requires_grad and id(p) not in inside for p in model.parameters()):
        return 0
    return moving.index(True) if any(moving) else 0


def layers_in_common(first: torch.nn.Module, second: torch.nn.Module) -> int:
    """Return how many of the first layers two models have in common, weight by weight.

    The states after them are then the same in both; 0 where anything around the layers differs.
    """
    bases = causal_model(first), causal_model(second)
    if type(bases[0]) is not type(bases[1]):
        return 0
    if _settings(bases[0]) != _settings(bases[1]):
        return 0
    try:
        stacks = [decoder_layers(base) for base in bases]
    except InputError:
        return 0
    if not _equal(*(_around(*pair) for pair in zip(bases, stacks, strict=True))):
        return 0
    pairs = zip(*stacks, strict=True)
    alike = (_equal(*(dict(_tensors(layer)) for layer in pair)) for pair in pairs)
    return next((at for at, same in enumerate(alike) if not same), len(stacks[0]))


def _settings(base: Any) -> dict[str, Any]:
    names = ("_name_or_path", "transformers_version")
    known = base.config.get_text_config().to_dict().items()
    return {key: value for key, value in known if key not in names}


def _tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _around(base: torch.nn.Module, layers: torch.nn.ModuleList) -> dict[str, torch.Tensor]:
    inside = {id(tensor) for _, tensor in _tensors(layers)}
    return {name: tensor for name, tensor in _tensors(base) if id(tensor) not in inside}


def _equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    import torch

    def same(one: torch.Tensor, other: torch.Tensor) -> bool:
        alike = (one.dtype, one.device) == (other.dtype, other.device)
        return alike and torch.equal(one, other)

    return list(first) == list(second) and all(same(first[name], second[name]) for name in first)


@contextlib.contextmanager
def first_layers_give(model: torch.nn.Module, states: torch.Tensor, layer: int) -> Iterator[None]:
    """Let the first `layer` layers do nothing but return states (B, T, D), for a while.

    They keep their places and attributes, since models read both (the kind of mask of a layer).
    """
    layers = list(decoder_layers(model))[:layer]
    own = [module.__dict__.get("forward") for module in layers]  # set where hooks are in use

    def give(*_given: Any, **_named: Any) -> torch.Tensor:
        return states

    try:
        for module in layers:
            module.forward = give
        yield
    finally:
        for module, forward in zip(layers, own, strict=True):
            del module.forward
            if forward is not None:
                module.forward = forward
