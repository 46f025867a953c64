"""What a run hands over: the adapter, the merged model, and the record of how it went."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.files import read_json
from forgetkit.forget_set import Example
from forgetkit.lm.ranks import own_rank, world_size
from forgetkit.progress import Progress
from forgetkit.unlearn.clock import Clock
from forgetkit.unlearn.config import UnlearnConfig

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.train import Outcome

CHECKED = 4
"""Rows of the validation slice on which merged model and adapter are compared."""

VLLM_RANKS = (16, 32, 64)
"""What `--max-lora-rank` of vLLM is set to, from its default on."""


def save(
    language_model: LanguageModel,
    config: UnlearnConfig,
    rows: Sequence[Example],
    progress: Progress,
    out: Path,
    clock: Clock,
) -> dict[str, Any]:
    """Write the adapter, and the merged model if asked for; or the model that was trained.

    Args:
        language_model: with its adapter; it is merged, so of no use afterwards.
        config: settings of the run.
        rows: on which the merged model is compared with the adapter.
        progress: told of the merging.
        out: the output folder.
        clock: measures the phases.

    Returns:
        For `run.json`: whether vLLM takes the adapter, and how far the merged model is from base
        and adapter.
    """
    from forgetkit.lm.adapter import save_adapter
    from forgetkit.lm.encode import answer_logits_of
    from forgetkit.lm.load import save_model
    from forgetkit.lm.sharded import is_sharded

    if config.peft == "none":
        with clock.phase("save"):
            save_model(language_model, out / "model")
        return {}
    with clock.phase("save"):
        shutil.rmtree(out / "adapter", ignore_errors=True)
        save_adapter(language_model.model, out / "adapter")
    found: dict[str, Any] = {"vllm": vllm_takes(read_json(out / "adapter/adapter_config.json"))}
    if not config.merge:
        return found
    progress.stage("merge", None)
    with clock.phase("merge"):
        through = answer_logits_of(language_model, rows[:CHECKED])
        if is_sharded(language_model.model) and own_rank():
            return found  # the first process alone puts the model together
        merged, checked = _merged(language_model, through, rows, out / "adapter")
        checked |= _recited(merged, rows)
    with clock.phase("save"):
        save_model(merged, out / "model")
    return found | {"merge": checked}


def vllm_takes(adapter: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether vLLM can serve an adapter, as far as its configuration shows.

    Args:
        adapter: the content of `adapter_config.json`.

    Returns:
        Whether it is accepted, the reasons if not, and the least `--max-lora-rank` to start vLLM
        with, whose default is 16.

    >>> vllm_takes({"peft_type": "LORA", "r": 24, "bias": "none"})
    {'accepted': True, 'reasons': [], 'max_lora_rank': 32}
    """
    kind, rank = adapter.get("peft_type"), int(adapter.get("r") or 0)
    reasons = [] if kind == "LORA" else [f"it is {kind}, not LoRA"]
    if adapter.get("use_dora"):
        reasons.append("it is DoRA")
    if adapter.get("bias", "none") != "none":
        reasons.append("it has biases")
    if adapter.get("modules_to_save"):
        reasons.append("it holds whole modules (modules_to_save)")
    if rank > VLLM_RANKS[-1]:
        reasons.append(f"its rank is {rank}, above {VLLM_RANKS[-1]}")
    needed = next((size for size in VLLM_RANKS if size >= rank), None)
    return {"accepted": not reasons, "reasons": reasons, "max_lora_rank": needed}


def commit_of(base: LanguageModel) -> dict[str, str]:
    """Return the commit that a hub id stood for when it was loaded; empty for a folder."""
    found = getattr(base.model.config, "_commit_hash", None)
    return {"model_commit": found} if isinstance(found, str) else {}


def _merged(
    language_model: LanguageModel, through: torch.Tensor, rows: Sequence[Example], adapter: Path
) -> tuple[LanguageModel, dict[str, Any]]:
    """Merge, and say how far the merged model is from the model that was trained.

    The update of a base in 8 or 4 bits is added to the weights that the base was made from: the
    difference then holds the quantisation too. That of a base in pieces is added to a whole one.

    Args:
        language_model: that was trained.
        through: its logits on the first `CHECKED` rows.
        rows: on which both are compared.
        adapter: the folder of the adapter that was written.
    """
    from forgetkit.lm.adapter import load_adapter, merge_adapter
    from forgetkit.lm.encode import answer_logits_of
    from forgetkit.lm.load import load_model
    from forgetkit.lm.quantized import is_quantized
    from forgetkit.lm.sharded import is_sharded

    chosen = rows[:CHECKED]
    small, in_pieces = is_quantized(language_model.model), is_sharded(language_model.model)
    whole = language_model
    if small or in_pieces:
        kind = "auto" if small else str(language_model.model.dtype).removeprefix("torch.")
        device = "cpu" if in_pieces else None  # a GPU may have no room for all of it
        whole = load_adapter(load_model(language_model.name, dtype=kind, device=device), adapter)
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
        **({"scale": round(outcome.scale, 4)} if outcome.scale != 1 else {}),
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
        **_peak_gpu_memory(),
        **({"reference_top_k": outcome.approximation} if outcome.approximation else {}),
        "versions": {name: metadata.version(name) for name in names},
    }


def _peak_gpu_memory() -> dict[str, int]:
    """Return the most memory that this process held on its GPU; empty where it used none."""
    import torch

    held = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {"peak_gpu_memory_mib": held // 2**20} if held else {}
