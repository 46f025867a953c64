"""Adapters: the one file that calls peft.

The reference model of a loss is the same weights with the adapter switched off, never a second
copy. An adapter that matches no module is an error: peft itself only warns, and the output would
be the base model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.lm.load import LanguageModel

if TYPE_CHECKING:
    import torch


def add_lora(
    language_model: LanguageModel, *, rank: int, alpha: float, dropout: float, seed: int
) -> LanguageModel:
    """Add a LoRA adapter to every linear layer (Hu et al. 2021, arXiv:2106.09685).

    Args:
        language_model: the target model; its weights are frozen.
        rank: inner width of the adapter.
        alpha: scale; the update is multiplied by alpha / rank.
        dropout: share of inputs dropped in training.
        seed: of the adapter's first weights.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = get_peft_model(language_model.model, settings)
    return LanguageModel(
        model, language_model.tokenizer, language_model.name, language_model.folder
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


def save_adapter(model: torch.nn.Module, folder: Path) -> None:
    """Write the adapter in peft's own format, which other tools load."""
    model.save_pretrained(  # type: ignore[operator]
        str(folder), safe_serialization=True, save_embedding_layers=False
    )


def load_adapter(language_model: LanguageModel, folder: Path) -> LanguageModel:
    """Put a trained adapter on a model.

    Raises:
        InputError: the folder holds no adapter, or its weights and those that this model has a
            place for are not the same.
    """
    import warnings

    from peft import PeftModel
    from safetensors import SafetensorError, safe_open

    weights = folder / "adapter_model.safetensors"
    if not (folder / "adapter_config.json").is_file() or not weights.is_file():
        raise InputError("is no adapter folder", where=str(folder))
    try:
        with safe_open(str(weights), framework="pt") as stream:
            expected = set(stream.keys())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            model = PeftModel.from_pretrained(language_model.model, str(folder))
    except (ValueError, RuntimeError, OSError, TypeError, SafetensorError) as error:
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
    """Fold the adapter into the weights and return the plain model."""
    model: Any = language_model.model
    merged = model.merge_and_unload()
    return LanguageModel(
        merged.eval(), language_model.tokenizer, language_model.name, language_model.folder
    )
