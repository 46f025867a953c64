"""From metrics and rows to the content of `results.json`."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetkit import __version__
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.metrics import is_leak
from forgetkit.evaluate.models import shown
from forgetkit.evaluate.sample import BEFORE, RETAIN_MODEL, Sample
from forgetkit.registry import entries
from forgetkit.results import Metric, Results, overall

_SHOWN = ("forget", "prompts", "holdout")


def record(
    metrics: Sequence[Metric],
    samples: Sequence[Sample],
    kind: str,
    identity: Mapping[str, Any],
    config: EvaluateConfig,
    models: Mapping[str, Mapping[str, str]],
    command: str,
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
            "command": command,
            "seed": config.seed,
            "forget_set_sha256": identity["forget_set_sha256"],
            "python": platform.python_version(),
            "versions": _versions(),
        }
        | {key: identity[key] for key in ("plugin_sha256", "endpoint") if key in identity},
        pairs=pairs(samples),
        notes=tuple(_notes(kind, models, config)),
    )


def command_of(
    given: Mapping[str, str | Path | None], config: EvaluateConfig, name: str = "evaluate"
) -> str:
    """Return the command line that evaluates so; folders are named without those above.

    Args:
        given: flag to value; None where it was not given.
        config: settings; those that differ from the defaults are named.
        name: `evaluate` or `attack`.
    """
    attacks = config.attacks if name == "attack" else ()
    words = ["forgetkit", name, *attacks]
    for flag, value in given.items():
        if value:
            absolute = Path(value).is_absolute()
            words += [f"--{flag}", shown(str(value)) if absolute else str(value)]
    for key, value in config.model_dump(mode="json", exclude_defaults=True).items():
        if key != "attacks" or not attacks:
            words += ["--set", f"{key}={json.dumps(value, ensure_ascii=False)}"]
    return shlex.join([*words, "--out", "results"])


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
