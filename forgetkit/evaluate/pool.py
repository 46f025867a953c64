"""Several seeds of one unlearning: evaluate each, and judge their mean."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from forgetkit.errors import InputError
from forgetkit.evaluate.acceptance import accept
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.models import Models
from forgetkit.evaluate.record import command_of
from forgetkit.evaluate.sample import BEFORE
from forgetkit.evaluate.stage import EvaluateResult, evaluate
from forgetkit.files import claim_folder, read_json, sha256_file
from forgetkit.intervals import wilson
from forgetkit.progress import Progress
from forgetkit.results import Estimate, Metric, Results, load_results, mean_and_deviation, overall

MARKER = "seeds.json"
P_VALUES = ("utility_p_value", "forget_quality")
SHARED = "before"
"""Folder of what the target model says, while seeds are evaluated."""


def evaluate_seeds(
    model: str,
    forget_set: Path,
    runs: Path,
    out: Path,
    *,
    retain_model: str | None = None,
    plugin: Path | None = None,
    config: EvaluateConfig | None = None,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Evaluate every seed of `unlearn_seeds`, in `seed-N/`, and write pooled results beside them.

    Args:
        model: the target model; it is read once for all seeds.
        forget_set: what `build` wrote.
        runs: the folder of the runs.
        out: the output folder.
        retain_model: as of `evaluate`.
        plugin: as of `evaluate`.
        config: settings and thresholds.
        progress: told of each pass.

    Raises:
        InputError: the folder holds no finished seeds.
    """
    config, started = config or EvaluateConfig(), time.monotonic()
    numbers = seeds_of(runs)
    identity = identity_of_seeds(model, forget_set, runs, retain_model, plugin, config)
    if claim_folder(out, "results.json", identity):
        return EvaluateResult(out, load_results(out / "results.json"), 0.0)
    found = []
    for number in numbers:
        models = models_of_seed(model, runs, number, retain_model)
        done = evaluate(
            models.after,
            forget_set,
            out / f"seed-{number}",
            adapter=models.adapter,
            before=models.before,
            retain_model=models.retain_model,
            plugin=plugin,
            shared=out / SHARED,
            config=config,
            progress=progress,
        )
        found.append(done.results)
    pooled = pool(found, numbers, config)
    given: dict[str, str | Path | None] = {
        "model": model,
        "runs": runs,
        "retain-model": retain_model,
    }
    command = command_of(given | {"forget-set": forget_set, "plugin": plugin}, config)
    pooled = replace(pooled, provenance=dict(pooled.provenance) | {"command": command})
    pooled.save(out / "results.json")
    shutil.rmtree(out / SHARED, ignore_errors=True)
    return EvaluateResult(out, pooled, time.monotonic() - started)


def identity_of_seeds(
    model: str,
    forget_set: Path,
    runs: Path,
    retain_model: str | None,
    plugin: Path | None,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Return what makes two evaluations of several seeds the same."""
    from forgetkit.lm.load import model_identity

    return {
        "model": model_identity(model),
        "runs": sha256_file(runs / MARKER),
        "forget_set_sha256": sha256_file(forget_set / "manifest.json"),
        "configuration": config.model_dump(),
        "plugin": sha256_file(plugin) if plugin else "",
        "retain_model": model_identity(retain_model) if retain_model else "",
    }


def models_of_seed(model: str, runs: Path, number: int, retain_model: str | None) -> Models:
    """Return the models of a seed: its adapter on the target model, or the model it wrote."""
    adapter = runs / f"seed-{number}" / "adapter"
    with_adapter = adapter.is_dir()
    after = model if with_adapter else str(adapter.with_name("model"))
    return Models(after, adapter if with_adapter else None, model, retain_model)


def seeds_of(runs: Path) -> list[int]:
    """Return the seeds of a folder of `unlearn_seeds`.

    Raises:
        InputError: it holds no finished seeds.
    """
    if not (runs / MARKER).is_file():
        raise InputError(
            "holds no seeds", where=str(runs), mend="Run `forgetkit unlearn --seeds 3`."
        )
    return [int(number) for number in read_json(runs / MARKER)["seed_numbers"]]


def pool(results: Sequence[Results], seeds: Sequence[int], config: EvaluateConfig) -> Results:
    """Return the results of all seeds as one, judged by the same thresholds.

    A value is the mean over seeds; its interval is Student's over seeds (n - 1 degrees of
    freedom), which holds what another seed may give; of a rate it is at least Wilson's of all
    probes together, within [0, 1]. A p-value is the median over seeds, without an interval: their
    mean is no p-value. A metric that one seed lacks is null.
    """
    first = results[0]
    metrics = [_pooled([one.metric(m.name) for one in results], seeds) for m in first.metrics]
    rules = config.rules(str(first.configuration["kind"]), has_before=BEFORE in first.models)
    metrics = accept(metrics, rules)
    verdicts = ", ".join(f"{n}: {one.verdict}" for n, one in zip(seeds, results, strict=True))
    notes = [f"Pooled over {len(seeds)} seeds, intervals over seeds. Verdict of each: {verdicts}."]
    notes += _deviations(results, metrics)
    if first.attacks:
        notes.append(f"The spans of the attacks are those of seed {seeds[0]}.")
    return replace(
        first,
        metrics=tuple(metrics),
        verdict=overall(metrics),
        provenance=dict(first.provenance) | {"seeds": list(seeds)},
        pairs=[
            dict(pair) | {"seed": number}
            for number, one in zip(seeds, results, strict=True)
            for pair in one.pairs
        ],
        notes=(*notes, *first.notes),
    )


def _pooled(metrics: Sequence[Metric], seeds: Sequence[int]) -> Metric:
    over = median_over_seeds if metrics[0].name in P_VALUES else over_seeds
    return replace(
        metrics[0],
        after=over([m.after for m in metrics], seeds),
        control=over([m.control for m in metrics], seeds),
        threshold="",
        verdict=None,
    )


def over_seeds(estimates: Sequence[Estimate], seeds: Sequence[int]) -> Estimate:
    """Return mean and interval over seeds; null where a seed has no value.

    >>> over_seeds([Estimate(0.2, 10), Estimate(0.4, 10)], [0, 1]).n
    20
    """
    lacking = _lacking(estimates, seeds)
    if lacking is not None:
        return lacking
    values = _values(estimates)
    mean, deviation = mean_and_deviation(values)
    n = sum(estimate.n for estimate in estimates)
    if deviation is None:
        return estimates[0]
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    low, high = mean - half, mean + half
    if all(_is_rate(estimate) for estimate in estimates):
        hits = sum(value * e.n for value, e in zip(values, estimates, strict=True))
        least, most = wilson(hits, n)
        low, high = max(0.0, min(low, least)), min(1.0, max(high, most))
    return Estimate(mean, n, low, high)


def median_over_seeds(estimates: Sequence[Estimate], seeds: Sequence[int]) -> Estimate:
    """Return the median over seeds without an interval; null where a seed has no value."""
    lacking = _lacking(estimates, seeds)
    n = sum(estimate.n for estimate in estimates)
    return lacking or Estimate(statistics.median(_values(estimates)), n)


def _lacking(estimates: Sequence[Estimate], seeds: Sequence[int]) -> Estimate | None:
    for number, estimate in zip(seeds, estimates, strict=True):
        if estimate.value is None:
            return replace(estimate, reason=f"seed {number}: {estimate.reason}")
    return None


def _values(estimates: Sequence[Estimate]) -> list[float]:
    return [estimate.value for estimate in estimates if estimate.value is not None]


def _is_rate(estimate: Estimate) -> bool:
    """Say whether an estimate has Wilson's interval, which only shares of hits have."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return False
    if not 0.0 <= estimate.value <= 1.0:
        return False
    low, high = wilson(estimate.value * estimate.n, estimate.n)
    return max(abs(low - estimate.low), abs(high - estimate.high)) < 1e-9


def _deviations(results: Sequence[Results], metrics: Sequence[Metric]) -> list[str]:
    """Say how far the seeds lie apart in what is judged."""
    words = []
    for metric in metrics:
        values = [one.metric(metric.name).after.value for one in results]
        known = [value for value in values if value is not None]
        if metric.verdict is None or len(known) < max(2, len(values)):
            continue
        words.append(f"{metric.name} {mean_and_deviation(known)[1] or 0.0:.3g}")
    return [f"Standard deviation over seeds: {', '.join(words)}."] if words else []
