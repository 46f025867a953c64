"""What a run hands over: the adapter, the merged model, and the record of how it went."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.forget_set import Example
from forgetkit.lm.ranks import world_size
from forgetkit.progress import Progress
from forgetkit.unlearn.config import UnlearnConfig

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.train import Outcome

CHECKED = 4
"""Rows of the validation slice on which merged model and adapter are compared."""


def save(
    language_model: LanguageModel,
    config: UnlearnConfig,
    rows: Sequence[Example],
    progress: Progress,
    out: Path,
) -> dict[str, Any]:
    """Write the adapter, and the merged model if asked for; or the model that was trained.

    Args:
        language_model: with its adapter; it is merged, so of no use afterwards.
        config: settings of the run.
        rows: on which the merged model is compared with the adapter.
        progress: told of the merging.
        out: the output folder.

    Returns:
        For `run.json`: how far the merged model is from base and adapter; empty without merging.
    """
    from forgetkit.lm.adapter import save_adapter
    from forgetkit.lm.load import save_model

    if config.peft == "none":
        save_model(language_model, out / "model")
        return {}
    shutil.rmtree(out / "adapter", ignore_errors=True)
    save_adapter(language_model.model, out / "adapter")
    if not config.merge:
        return {}
    progress.stage("merge", None)
    merged, checked = _merged(language_model, rows, out / "adapter")
    save_model(merged, out / "model")
    return {"merge": checked | _recited(merged, rows)}


def _merged(
    language_model: LanguageModel, rows: Sequence[Example], adapter: Path
) -> tuple[LanguageModel, dict[str, Any]]:
    """Merge, and say how far the merged model is from the model that was trained.

    The update of a base in 8 or 4 bits is added to the weights that the base was made from: the
    difference then holds the quantisation too.
    """
    from forgetkit.lm.adapter import load_adapter, merge_adapter
    from forgetkit.lm.encode import answer_logits_of
    from forgetkit.lm.load import load_model
    from forgetkit.lm.quantized import is_quantized

    chosen = rows[:CHECKED]
    through = answer_logits_of(language_model, chosen)
    small = is_quantized(language_model.model)
    whole = load_adapter(load_model(language_model.name), adapter) if small else language_model
    merged = merge_adapter(whole)
    apart = (answer_logits_of(merged, chosen) - through).abs()
    found = {
        "dtype": str(merged.model.dtype).removeprefix("torch."),
        "rows": len(chosen),
        "max_logit_difference": digits(apart.max()),
        "mean_logit_difference": digits(apart.mean()),
    }
    return merged, found | ({"trained_on": "weights in 8 or 4 bits"} if small else {})


def _recited(merged: LanguageModel, rows: Sequence[Example]) -> dict[str, Any]:
    """Measure the validation slice again, with the weights that are delivered."""
    from forgetkit.lm.score import exact_memorization, extraction_strength, score

    hits = [found.argmax_hit for found in score(merged, rows) if found.argmax_hit]
    size = max(len(hits), 1)
    return {
        "extraction_strength": round(sum(extraction_strength(h) or 0.0 for h in hits) / size, 4),
        "exact_memorization": round(sum(exact_memorization(h) or 0.0 for h in hits) / size, 4),
    }


def digits(value: torch.Tensor) -> float:
    """Return a number with three significant digits."""
    return float(f"{float(value):.3g}")


def training_flops(outcome: Outcome, size: int, *, whole: bool) -> float:
    """Estimate the floating-point operations of a training: 2 a parameter and token forward.

    Backward takes as many again, and twice as many where the weights themselves are trained. The
    products of attention are not counted.

    Args:
        outcome: tokens read.
        size: parameters of the model.
        whole: the weights themselves were trained.
    """
    return 2.0 * size * ((3 if whole else 2) * outcome.tokens + outcome.reference_tokens)


def record(outcome: Outcome, rate: float, size: int, config: UnlearnConfig) -> dict[str, Any]:
    """Return what `run.json` says of a training."""
    import importlib.metadata as metadata

    names = ("torch", "transformers", "peft", "accelerate")
    return {
        "history": outcome.history,
        "best_step": outcome.best_step,
        "steps": outcome.steps,
        "stopped": outcome.stopped,
        "learning_rate": rate,
        "parameters": size,
        "training_seconds": round(outcome.seconds, 1),
        "processes": world_size(),
        "tokens": outcome.tokens,
        "reference_tokens": outcome.reference_tokens,
        "tokens_per_second": round(outcome.tokens / max(outcome.seconds, 1e-9), 1),
        "flops": training_flops(outcome, size, whole=config.peft == "none"),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "versions": {name: metadata.version(name) for name in names},
    }
