"""The room's verb: one pass over every split with each model, metrics, thresholds, verdict."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__
from forgetkit.evaluate.acceptance import accept
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import (
    Judge,
    Sample,
    add_fluency,
    add_labels,
    add_rouge,
    measure,
    write_samples,
)
from forgetkit.evaluate.metrics import compute, is_leak
from forgetkit.files import claim_folder, sha256_file, sha256_tree
from forgetkit.forget_set import ForgetSet, read_forget_set
from forgetkit.progress import Progress, Silent
from forgetkit.results import Metric, Results, load_results, overall

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel


@dataclass(frozen=True)
class EvaluateResult:
    """What `evaluate` wrote.

    Attributes:
        folder: holds `results.json` and `samples.parquet`.
        results: the content of `results.json`.
        seconds: wall time; 0 when the same results were already there.
    """

    folder: Path
    results: Results
    seconds: float


def evaluate(
    model: str,
    forget_set: Path,
    out: Path,
    *,
    adapter: Path | None = None,
    before: str | None = None,
    config: EvaluateConfig | None = None,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Measure forgetting, utility and language of a model, and judge them.

    Args:
        model: the unlearned model; with `adapter`, the target model that the adapter is put on.
        forget_set: what `build` wrote.
        out: the output folder.
        adapter: an adapter on `model`; then before is the same model without it.
        before: the target model. Without it and without an adapter nothing is judged.
        config: settings and thresholds.
        progress: told of each pass.

    Raises:
        InputError: a model, the set or a threshold cannot be used.
    """
    config, progress = config or EvaluateConfig(), progress or Silent()
    started = time.monotonic()
    content = read_forget_set(forget_set)
    identity = _identity(model, forget_set, adapter, before, config)
    if claim_folder(out, "results.json", identity):
        return EvaluateResult(out, load_results(out / "results.json"), 0.0)
    target = before or (model if adapter else None)
    samples = _samples(model, target, adapter, content, config, progress)
    metrics = compute(samples, content.kind, config)
    if target is not None:
        metrics = accept(metrics, config.rules(content.kind))
    results = _results(metrics, samples, content, identity, config, model, target)
    write_samples(out / "samples.parquet", samples)
    results.save(out / "results.json")
    return EvaluateResult(out, results, time.monotonic() - started)


def _identity(
    model: str,
    forget_set: Path,
    adapter: Path | None,
    before: str | None,
    config: EvaluateConfig,
) -> dict[str, Any]:
    from forgetkit.lm.load import model_digest, resolve_model

    def digest(name: str) -> str:
        _, folder = resolve_model(name)
        return model_digest(folder) if folder else name

    return {
        "model": digest(model),  # a moved folder is the same model
        "before": digest(before) if before else "",
        "adapter": sha256_tree(adapter) if adapter else {},
        "forget_set_sha256": sha256_file(forget_set / "manifest.json"),
        "configuration": config.model_dump(),
        "version": __version__,
    }


def _samples(
    model: str,
    target: str | None,
    adapter: Path | None,
    content: ForgetSet,
    config: EvaluateConfig,
    progress: Progress,
) -> list[Sample]:
    from forgetkit.lm.adapter import load_adapter
    from forgetkit.lm.load import load_model

    samples: list[Sample] = []
    base: LanguageModel | None = None
    if target is not None:
        base = load_model(target, dtype=config.dtype)
        samples += measure(base, content, "before", config, progress)
    after = load_model(model, dtype=config.dtype)
    if adapter is not None:
        after = load_adapter(after, adapter)
    samples += measure(after, content, "after", config, progress)
    if base is not None:
        add_fluency(base, samples, config, progress)
    add_rouge(samples)
    if content.kind != "text":
        add_labels(samples, _judge(), progress)
    return samples


def _judge() -> Judge:
    from forgetkit.classify.judge import open_judge
    from forgetkit.embed import open_embedder

    judge = open_judge(open_embedder().encode)

    def labels(prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
        return [verdict.label for verdict in judge.judge(prompts, answers)]

    return labels


def _results(
    metrics: Sequence[Metric],
    samples: Sequence[Sample],
    content: ForgetSet,
    identity: Mapping[str, Any],
    config: EvaluateConfig,
    model: str,
    target: str | None,
) -> Results:
    notes = [
        "Membership scores, relearning, quantisation, sampling and rephrased prompts were not "
        "measured in this run.",
    ]
    if target is None:
        notes.append("No model before was given: nothing is judged.")
    notes.append("No retain model was given: the control is text never trained on (holdout).")
    if content.kind != "text":
        from forgetkit.classify.judge import open_judge

        notes.append(open_judge().accuracy())
    models = {"after": {"name": _shown(model), "sha256": str(identity["model"])}}
    if target is not None:
        sha256 = identity["before"] or identity["model"]
        models["before"] = {"name": _shown(target), "sha256": str(sha256)}
    rules = {n: r.model_dump(exclude_none=True) for n, r in config.rules(content.kind).items()}
    return Results(
        metrics=tuple(metrics),
        verdict=overall(metrics),
        models=models,
        configuration=config.model_dump() | {"acceptance": rules, "kind": content.kind},
        provenance={
            "version": __version__,
            "seed": config.seed,
            "forget_set_sha256": identity["forget_set_sha256"],
            "python": platform.python_version(),
            "versions": _versions(),
        },
        pairs=_pairs(samples),
        notes=tuple(notes),
    )


def _shown(model: str) -> str:
    """Return a model's name without the folders of this machine."""
    path = Path(model)
    return "/".join(path.parts[-2:]) if path.is_dir() else model


def _versions() -> dict[str, str]:
    import importlib.metadata as metadata

    return {name: metadata.version(name) for name in ("torch", "transformers", "peft")}


def _pairs(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return one row an example of forget, probes and holdout, before beside after."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for sample in samples:
        if sample.split not in ("forget", "prompts", "holdout"):
            continue
        key = (sample.split, sample.example.example_id)
        row = rows.setdefault(
            key,
            {
                "split": sample.split,
                "example_id": sample.example.example_id,
                "variant": sample.example.variant,
                "prompt": sample.example.prompt,
                "answer": sample.example.answer,
                "before": None,
                "after": None,
            },
        )
        row[sample.model] = _values(sample)
    return list(rows.values())


def _values(sample: Sample) -> dict[str, Any]:
    from forgetkit.lm.score import exact_memorization, extraction_strength

    return {
        "es": extraction_strength(sample.argmax_hit),
        "em": exact_memorization(sample.argmax_hit),
        "nll": sample.nll,
        "completion": sample.completion,
        "leak": is_leak(sample) if sample.example.kind == "text" else None,
        "label": sample.label or None,
    }
