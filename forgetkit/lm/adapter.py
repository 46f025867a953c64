"""Adapters: the one file that calls peft.

The reference model of a loss is the same weights with the adapter switched off, never a second
copy. An adapter that matches no module is an error: peft itself only warns, and the output would
be the base model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError, UsageError, load_errors
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.quantized import is_quantized

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class AdapterSettings:
    """What adapter to add.

    Attributes:
        kind: lora (Hu et al. 2021, arXiv:2106.09685), rslora (Kalajdzievski 2023,
            arXiv:2312.03732), dora (Liu et al. 2024, arXiv:2402.09353) or ia3 (Liu et al. 2022,
            arXiv:2205.05638).
        rank: inner width; not read by ia3.
        alpha: scale: the update is multiplied by alpha / rank, by alpha / sqrt(rank) for rslora.
        dropout: share of inputs dropped in training.
        targets: last names of the linear layers to adapt; empty: all (for ia3: keys, values and
            the feed-forward's second layer, where peft knows the architecture).
        layers: numbers of the decoder layers to adapt, from 0; empty: all.
    """

    kind: str = "lora"
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()


def add_adapter(
    language_model: LanguageModel, settings: AdapterSettings, *, seed: int
) -> LanguageModel:
    """Add an adapter; the model's own weights are frozen.

    Args:
        language_model: the target model.
        settings: kind, size and place.
        seed: of the adapter's first weights.

    Raises:
        UsageError: no module has one of the names given.
        InputError: the adapter has no place in this architecture.
    """
    import torch
    from peft import get_peft_model

    _check_targets(language_model.model, settings.targets)
    make = _ia3 if settings.kind == "ia3" else _lora
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            model = get_peft_model(language_model.model, make(language_model, settings))
        except ValueError as error:
            raise InputError(
                "the adapter finds no place in the model",
                found=str(error).split("\n")[0][:200],
                mend="Check targets and layers.",
            ) from error
    return LanguageModel(
        model, language_model.tokenizer, language_model.name, language_model.folder
    )


def _check_targets(model: torch.nn.Module, targets: Sequence[str]) -> None:
    """Check every name by itself: peft is content when one of them is there."""
    present = [name for name, _ in model.named_modules()]
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in present):
            from forgetkit.lm.layers import depth

            known = ", ".join(_linear_names(model, range(depth(model))))
            raise UsageError(
                f"no module of the model is called '{target}'",
                where="targets",
                mend=f"Its linear layers: {known}.",
            )


def add_lora(
    language_model: LanguageModel, *, rank: int, alpha: float, dropout: float, seed: int
) -> LanguageModel:
    """Add a LoRA adapter to every linear layer."""
    settings = AdapterSettings(rank=rank, alpha=alpha, dropout=dropout)
    return add_adapter(language_model, settings, seed=seed)


def _lora(language_model: LanguageModel, settings: AdapterSettings) -> Any:
    from peft import LoraConfig

    names = sorted(settings.targets)
    if settings.layers and not names:  # peft takes no layers with all-linear
        names = _linear_names(language_model.model, settings.layers)
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.kind == "rslora",
        use_dora=settings.kind == "dora",
        target_modules=names or "all-linear",
        layers_to_transform=list(settings.layers) or None,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _linear_names(model: torch.nn.Module, layers: Sequence[int]) -> list[str]:
    import torch

    from forgetkit.lm.layers import decoder_layers

    inside = (pair for number in layers for pair in decoder_layers(model)[number].named_modules())
    return sorted({n.split(".")[-1] for n, module in inside if isinstance(module, torch.nn.Linear)})


def _ia3(language_model: LanguageModel, settings: AdapterSettings) -> Any:
    """Name the places of IA³ by pattern: it has no setting for layers."""
    from peft import IA3Config
    from peft.utils.constants import (
        TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FORWARD,
    )
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as PLACES

    kind = language_model.model.config.model_type
    if kind not in PLACES:
        raise InputError(
            "peft knows no places of ia3 in this architecture",
            found=str(kind),
            mend="Use --peft lora.",
        )
    names = settings.targets or tuple(PLACES[kind])
    layers = "|".join(str(number) for number in settings.layers) or r"\d+"
    forward = "|".join(name for name in FORWARD[kind] if name in names) or "(?!)"
    return IA3Config(
        target_modules=rf".*\.({layers})\..*\b({'|'.join(names)})",
        feedforward_modules=rf".*\.({layers})\..*\b({forward})",
        task_type="CAUSAL_LM",
    )


def adapter_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the adapter's weights on the CPU."""
    from peft import get_peft_model_state_dict

    # False: with True or auto peft asks the hub whether the vocabulary was resized
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def restore_adapter(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Put adapter weights back.

    Raises:
        InputError: a weight has no place in the model.
    """
    from peft import set_peft_model_state_dict

    outcome = set_peft_model_state_dict(model, state)
    unexpected = list(getattr(outcome, "unexpected_keys", []) or [])
    if unexpected:
        raise InputError("adapter weights that match no module", found=unexpected[0])


@contextlib.contextmanager
def adapter_off(model: torch.nn.Module) -> Iterator[None]:
    """Switch the adapter off: the reference model, without gradient and without dropout."""
    import torch

    was_training = model.training
    model.eval()
    with torch.no_grad(), model.disable_adapter():  # type: ignore[operator]
        yield
    model.train(was_training)


@contextlib.contextmanager
def adapter_times(model: torch.nn.Module, factor: float) -> Iterator[None]:
    """Multiply the update of a LoRA adapter for a while; afterwards it is what it was, bit by bit.

    Raises:
        InputError: the adapter's update is no product that can be multiplied.
    """
    if factor == 1:
        yield
        return
    before = adapter_state(model)
    multiply_adapter(model, factor)
    yield
    restore_adapter(model, before)


def can_multiply(model: torch.nn.Module) -> bool:
    """Say whether what is trained is an update that is one product: LoRA, and no magnitudes."""
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    return bool(names) and all("lora_A" in name or "lora_B" in name for name in names)


def multiply_adapter(model: torch.nn.Module, factor: float) -> None:
    """Multiply the update of a LoRA adapter: -1 subtracts what was learnt.

    Raises:
        InputError: the adapter's update is no product that can be multiplied.
    """
    import torch

    if factor != 1 and not can_multiply(model):
        raise InputError("only the update of lora and rslora can be subtracted")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.mul_(factor)


def save_adapter(model: torch.nn.Module, folder: Path) -> None:
    """Write the adapter in peft's own format, which other tools load."""
    model.save_pretrained(  # type: ignore[operator]
        str(folder), safe_serialization=True, save_embedding_layers=False
    )


def check_adapter_folder(folder: Path) -> Path:
    """Return the file of weights of an adapter's folder.

    Raises:
        InputError: the folder holds no adapter.
    """
    weights = folder / "adapter_model.safetensors"
    if not (folder / "adapter_config.json").is_file() or not weights.is_file():
        raise InputError("is no adapter folder", where=str(folder))
    return weights


def load_adapter(language_model: LanguageModel, folder: Path) -> LanguageModel:
    """Put a trained adapter on a model.

    Raises:
        InputError: the folder holds no adapter, or its weights and those that this model has a
            place for are not the same.
    """
    import warnings

    from peft import PeftModel
    from safetensors import safe_open

    weights = check_adapter_folder(folder)
    try:
        with safe_open(str(weights), framework="pt") as stream:
            expected = set(stream.keys())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            model = PeftModel.from_pretrained(language_model.model, str(folder))
    except load_errors() as error:
        found = str(error).split("\n")[0][:200]
        raise InputError("does not fit the model", where=str(folder), found=found) from error
    present = set(adapter_state(model))
    unmatched = sorted(expected ^ present)
    if unmatched or not expected:
        raise InputError(
            "the adapter does not match the modules of the model, so the output would be the "
            "base model's, or partly",
            where=str(folder),
            found=unmatched[0] if unmatched else "no weights",
        )
    return LanguageModel(
        model.eval(), language_model.tokenizer, language_model.name, language_model.folder
    )


def merge_adapter(language_model: LanguageModel) -> LanguageModel:
    """Fold the adapter into the weights and return the plain model.

    Raises:
        InputError: the weights are in 8 or 4 bits, whose grid would swallow the update.
    """
    model: Any = language_model.model
    if is_quantized(model):
        raise InputError(
            "an adapter is not merged into weights of 8 or 4 bits: small updates would be rounded "
            "away, and the model would say again what it said before",
            mend="Load the base with dtype auto, put the adapter on it, and merge there.",
        )
    merged = model.merge_and_unload()
    return LanguageModel(
        merged.eval(), language_model.tokenizer, language_model.name, language_model.folder
    )
