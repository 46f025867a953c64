"""The weights that training moves, an adapter's or all of them, and the reference model.

With an adapter the reference is the same weights with the adapter off. Full fine-tuning moves the
weights themselves, so it needs a frozen copy: as much memory again as the model. It is made only
when a loss reads it.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.lm.adapter import adapter_off, adapter_state, restore_adapter
from forgetkit.lm.load import LanguageModel

if TYPE_CHECKING:
    import torch


def train_whole(
    language_model: LanguageModel, *, layers: Sequence[int] = (), with_reference: bool
) -> LanguageModel:
    """Let the weights themselves be trained.

    Args:
        language_model: the target model.
        layers: numbers of the decoder layers to train, from 0; empty: everything.
        with_reference: keep a frozen copy, for losses that read the reference model.
    """
    from forgetkit.lm.layers import decoder_layers

    model: Any = language_model.model
    kept = (copy.deepcopy(model).eval().requires_grad_(False),) if with_reference else ()
    model.requires_grad_(not layers)
    for number in layers:
        decoder_layers(model)[number].requires_grad_(True)
    model.frozen_copy = kept  # in a tuple: no part of the model, so never trained or saved
    return language_model


def has_adapter(model: torch.nn.Module) -> bool:
    """Say whether an adapter is on the model."""
    return hasattr(model, "peft_config")


def trained_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the weights that training moves, on the CPU."""
    if has_adapter(model):
        return adapter_state(model)
    rows = model.named_parameters()
    return {name: v.detach().to("cpu", copy=True) for name, v in rows if v.requires_grad}


def restore_trained(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Put such weights back."""
    import torch

    if has_adapter(model):
        restore_adapter(model, dict(state))
        return
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name in state:
                value.copy_(state[name])


@contextlib.contextmanager
def reference_model(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Give the reference model, without gradient and without dropout.

    Raises:
        InputError: all weights are trained and no copy was kept.
    """
    import torch

    if has_adapter(model):
        with adapter_off(model):
            yield model
        return
    kept = getattr(model, "frozen_copy", ())
    if not kept:
        raise InputError("a loss reads the reference model, and no copy of it was kept")
    with torch.no_grad():
        yield kept[0]
