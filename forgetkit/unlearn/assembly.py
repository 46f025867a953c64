"""What a run is put together from: the method, the adapter, the learning rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from forgetkit.errors import UsageError, nearest
from forgetkit.lm.quantized import FORMATS
from forgetkit.registry import entries, lookup
from forgetkit.seeds import derive
from forgetkit.unlearn.config import UnlearnConfig
from forgetkit.unlearn.dual import UtilityKept
from forgetkit.unlearn.ranges import check_ranges
from forgetkit.unlearn.token_weights import EntropyWeighted

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.step import Step
    from forgetkit.unlearn.methods import Method


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """Return a method by name with its settings.

    Raises:
        UsageError: the name, or the name of a setting, is unknown, or a setting is out of range.
    """
    entry = lookup("methods", name)
    kind = entry.load()
    known = [field.name for field in dataclasses.fields(kind)]
    for key in settings:
        if key not in known:
            raise UsageError(f"the method {name} has no setting '{key}'", mend=nearest(key, known))
    check_ranges(name, settings)
    method: Method = kind(**settings)
    return method


def check_method(method: Method, config: UnlearnConfig) -> None:
    """Check that the method can work as asked.

    Raises:
        UsageError: an update is to be subtracted that is no product, weights are to be trained
            that are in 8 or 4 bits, utility is to be kept with nothing that keeps it, a KL is to
            be taken from the most likely tokens where none is taken, or weights are to be shared
            that cannot be.
    """
    if is_dual(config) and not keeps(method, config):
        raise UsageError(
            f"nothing in the method {config.method} can be weighed by --utility-floor",
            found=f"utility_floor {config.utility_floor:g}",
            mend=f"It works with {', '.join(_keepers())} and a share of retain rows. With "
            "--set retain_weight=fixed the floor only chooses the checkpoint.",
        )
    if config.reference_top_k and not (method.kl_splits() and config.retain_share):
        raise UsageError(
            f"the method {config.method} takes no KL on retain that reference_top_k could serve",
            found=f"reference_top_k {config.reference_top_k}",
            mend="Leave it out (0: exact), or give --set settings.retain_kl=NUMBER; of jensun "
            "also --set settings.retain_jsd=0.",
        )
    if method.factor() != 1 and config.peft not in ("lora", "rslora"):
        raise UsageError(
            f"the method {config.method} subtracts the update of a LoRA adapter",
            found=f"--peft {config.peft}",
            mend="Use --peft lora or rslora.",
        )
    if config.shard:
        _check_pieces(config)
    if config.peft == "none" and config.dtype in FORMATS:
        raise UsageError(
            "weights of 8 or 4 bits cannot be trained themselves",
            found=f"--peft none, dtype {config.dtype}",
            mend="Use --peft lora, or another dtype.",
        )


def _check_pieces(config: UnlearnConfig) -> None:
    whole = config.peft == "none"
    if whole or config.dtype in FORMATS:
        raise UsageError(
            "a model in pieces has frozen weights of 32 or 16 bits, and an adapter",
            found="--peft none" if whole else f"dtype {config.dtype}",
            mend="Use --peft lora and another dtype, or leave shard out.",
        )


def keeps(method: Method, config: UnlearnConfig) -> bool:
    """Say whether a dual variable can hold utility with the retain losses of a method.

    It needs one that is not weighed by 0, and a model in training that is the one to be kept; pdu
    has a dual variable of its own.
    """
    weights = [value for name, value in vars(method).items() if name.startswith("retain_")]
    can = "retain" in method.reads and any(weights) and method.factor() == 1
    return can and bool(config.retain_share) and config.method != "pdu"


def _keepers() -> list[str]:
    chosen = {entry.name: UnlearnConfig(method=entry.name) for entry in entries("methods")}
    return [name for name, config in chosen.items() if keeps(make_method(name, {}), config)]


def is_dual(config: UnlearnConfig) -> bool:
    """Say whether the retain losses weigh what it takes; a floor of 0 asks for nothing."""
    return config.retain_weight == "dual" and config.utility_floor > 0


def default_rate(parameters: int, peft: str = "lora") -> float:
    """Return the learning rate for a model of this size; of all weights, a tenth of an adapter's.

    >>> default_rate(135_000_000), default_rate(7_000_000_000), default_rate(7_000_000_000, "none")
    (0.001, 0.0001, 1e-05)
    """
    share = 10 if peft == "none" else 1
    for size, rate in ((3e8, 1e-3), (2e9, 2e-4), (1.4e10, 1e-4)):
        if parameters < size:
            return rate / share
    return 5e-5 / share


def forward_tokens(config: UnlearnConfig, device: str) -> int:
    """Return how many tokens a forward pass with gradient may hold; 0: any number.

    A dual variable moves once a step, so the steps of methods that have one stay whole.
    """
    if config.method == "pdu" or is_dual(config):
        return 0
    return config.forward_tokens or (1024 if device == "cpu" else 16384)


def reference_likelihoods(method: Method, config: UnlearnConfig) -> tuple[str, ...]:
    """Return the splits whose reference likelihoods are read, by the method or a dual weight."""
    dual = ("retain",) if is_dual(config) and "retain" in method.reads else ()
    return tuple(dict.fromkeys((*method.reference_likelihoods(), *dual)))


def reference_states(method: Method, config: UnlearnConfig) -> tuple[str, ...]:
    """Return the splits whose last reference states are read, other than for KL of the top k."""
    tops = reference_tops(method, config)
    return tuple(split for split in method.reference_splits() if split not in tops)


def reference_tops(method: Method, config: UnlearnConfig) -> tuple[str, ...]:
    """Return the splits whose KL is taken from the most likely tokens of the reference."""
    return method.kl_splits() if config.reference_top_k else ()


def objective(method: Method, config: UnlearnConfig) -> Callable[[Step], dict[str, torch.Tensor]]:
    """Return what is minimised: the method, with weighed tokens or a dual retain weight."""
    chosen = EntropyWeighted(method) if config.token_weights == "entropy" else method
    return UtilityKept(chosen, config.utility_floor) if is_dual(config) else chosen


def trainable(base: LanguageModel, method: Method, config: UnlearnConfig) -> LanguageModel:
    """Return the model with the adapter asked for, or with its own weights to be trained."""
    from forgetkit.lm.adapter import AdapterSettings, add_adapter
    from forgetkit.lm.encode import has_frozen_head
    from forgetkit.lm.layers import checkpoint_layers, depth
    from forgetkit.lm.trained import train_whole

    size = depth(base.model)
    chosen = config.layers or tuple(method.layers(size))
    outside = [number for number in chosen if not 0 <= number < size]
    if outside:
        raise UsageError(f"the model has no layer {outside[0]}", mend=f"It has 0 to {size - 1}.")
    layers = () if len(chosen) == size else chosen
    if config.peft == "none":
        read = method.needs_reference() or is_dual(config)
        made = train_whole(base, layers=layers, with_reference=read)
    else:
        settings = AdapterSettings(
            config.peft, config.rank, config.alpha, config.dropout, config.targets, layers
        )
        made = add_adapter(base, settings, seed=derive(config.seed, "adapter") % 2**32)
    if config.reference_top_k and not has_frozen_head(made.model):
        raise UsageError(
            "reference_top_k needs a head that is a product alone and is not trained",
            found=f"reference_top_k {config.reference_top_k}",
            mend="Leave it out (0: exact), or train an adapter of layers.",
        )
    if config.gradient_checkpointing:
        checkpoint_layers(made.model)
    return made
