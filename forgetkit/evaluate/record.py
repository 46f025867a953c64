"""From metrics and rows to the content of `results.json`, and from the stored rows again."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from forgetkit import __version__
from forgetkit.errors import InputError
from forgetkit.evaluate.acceptance import accept
from forgetkit.evaluate.attacks import AttackReport, attack_metrics
from forgetkit.evaluate.config import USUAL_RULES, EvaluateConfig
from forgetkit.evaluate.metrics import compute, is_leak
from forgetkit.evaluate.plugin import custom, load_plugin
from forgetkit.evaluate.sample import BEFORE, RETAIN_MODEL, Sample, read_samples
from forgetkit.evaluate.served import explained
from forgetkit.evaluate.tasks import task_metrics
from forgetkit.files import sha256_file
from forgetkit.registry import entries
from forgetkit.results import Metric, Results, load_results, overall

_SHOWN = ("forget", "prompts", "holdout")


def record(
    metrics: Sequence[Metric],
    samples: Sequence[Sample],
    kind: str,
    identity: Mapping[str, Any],
    config: EvaluateConfig,
    models: Mapping[str, Mapping[str, str]],
) -> Results:
    """Return the results: metrics, verdict, and all that is needed to read them."""
    in_force = config.rules(kind, has_before=BEFORE in models)
    rules = {name: rule.model_dump(exclude_none=True) for name, rule in in_force.items()}
    return Results(
        metrics=tuple(metrics),
        verdict=overall(metrics),
        models=models,
        configuration=config.model_dump() | {"acceptance": rules, "kind": kind},
        provenance={
            "version": __version__,
            "seed": config.seed,
            "forget_set_sha256": identity["forget_set_sha256"],
            "python": platform.python_version(),
            "versions": _versions(),
        }
        | {key: identity[key] for key in ("plugin_sha256", "endpoint") if key in identity},
        pairs=pairs(samples),
        notes=tuple(_notes(kind, models, config)),
    )


def rescore(folder: Path, plugin: Path | None = None) -> Results:
    """Compute every metric of an evaluation anew from its `samples.parquet`, without a model.

    The settings and thresholds are those the evaluation was run with; the same code gives the
    same bytes. `results.json` is replaced.

    Args:
        folder: what `evaluate` wrote.
        plugin: the file with metrics of one's own, when it was evaluated with one.

    Raises:
        InputError: the folder holds no evaluation of this version, or the plugin is not the one
            it was evaluated with.
    """
    before = load_results(folder / "results.json")
    wanted = before.provenance.get("plugin_sha256")
    if (sha256_file(plugin) if plugin else None) != wanted:
        raise InputError(
            "the plugin is not the one of this evaluation" if plugin else "needs its plugin",
            where=str(folder),
            mend="Give --plugin with the same file." if wanted else "Leave --plugin out.",
        )
    samples = read_samples(folder / "samples.parquet")
    content = dict(before.configuration)
    kind = content.pop("kind")
    usual = dict.fromkeys(USUAL_RULES[kind])
    config = EvaluateConfig(**content | {"acceptance": usual | content["acceptance"]})
    metrics = compute(samples, kind, config)
    reports = [AttackReport.of(content) for content in before.attacks]
    metrics += attack_metrics(reports, config, metrics)
    metrics += task_metrics(before.tasks)
    metrics += custom(load_plugin(plugin) if plugin else [], samples, config, metrics)
    if "endpoint" in before.provenance:
        metrics = explained(metrics)
    metrics = accept(metrics, config.rules(kind, has_before=BEFORE in before.models))
    results = replace(
        before, metrics=tuple(metrics), verdict=overall(metrics), pairs=pairs(samples)
    )
    results.save(folder / "results.json")
    return results


def _notes(kind: str, models: Mapping[str, Any], config: EvaluateConfig) -> list[str]:
    skipped = [e.name for e in entries("attacks") if e.name not in config.attacks]
    notes = [f"Attacks that were not run: {', '.join(skipped)}."] if skipped else []
    if BEFORE not in models:
        notes.append("No model before was given: only thresholds that were named are judged.")
    if RETAIN_MODEL not in models:
        notes.append("No retain model was given: the control is text never trained on (holdout).")
    if kind == "pair":
        from forgetkit.classify.judge import open_judge

        notes.append(open_judge().accuracy())
    return notes


def _versions() -> dict[str, str]:
    import importlib.metadata as metadata

    return {name: metadata.version(name) for name in ("torch", "transformers", "peft")}


def pairs(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return one row an example of forget, probes and holdout, before beside after."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for sample in samples:
        if sample.split not in _SHOWN:
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
