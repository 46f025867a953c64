"""Every metric of an evaluation anew from its stored rows, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from forgetkit.config import parse
from forgetkit.errors import InputError
from forgetkit.evaluate.acceptance import accept
from forgetkit.evaluate.attacks import AttackReport, attack_metrics
from forgetkit.evaluate.benchmarks import with_mmlu
from forgetkit.evaluate.config import (
    ATTACK_RULES,
    PAIR_ATTACK_RULES,
    USUAL_RULES,
    EvaluateConfig,
)
from forgetkit.evaluate.metrics import compute
from forgetkit.evaluate.plugin import custom, load_plugin
from forgetkit.evaluate.pool import pool
from forgetkit.evaluate.record import pairs
from forgetkit.evaluate.sample import BEFORE, read_samples
from forgetkit.evaluate.served import explained
from forgetkit.evaluate.tasks import task_metrics
from forgetkit.files import sha256_file
from forgetkit.results import Metric, Results, load_results, overall

AGAIN = "Run `forgetkit evaluate` again."


def rescore(folder: Path, plugin: Path | None = None) -> Results:
    """Compute every metric of an evaluation anew from its `samples.parquet`, without a model.

    The settings and thresholds are those the evaluation was run with; the same code gives the
    same bytes. `results.json` is replaced. Of several seeds each is computed anew, then pooled.

    Args:
        folder: what `evaluate` or `evaluate_seeds` wrote.
        plugin: the file with metrics of one's own, when it was evaluated with one.

    Raises:
        InputError: the folder holds no evaluation of this version, or the plugin is not the one
            it was evaluated with.
    """
    place = folder / "results.json"
    before = load_results(place)
    seeds = before.provenance.get("seeds")
    results = _one(before, folder, plugin) if seeds is None else _pooled(folder, seeds, plugin)
    if seeds is not None and "command" in before.provenance:
        command = {"command": before.provenance["command"]}
        results = replace(results, provenance=dict(results.provenance) | command)
    results.save(place)
    return results


def _pooled(folder: Path, seeds: object, plugin: Path | None) -> Results:
    """Return the results of all seeds of a folder as one."""
    place = folder / "results.json"
    if not isinstance(seeds, Sequence) or not seeds or not all(type(n) is int for n in seeds):
        where = f"{place}: provenance.seeds"
        raise InputError("is no list of seeds", where=where, found=repr(seeds)[:80], mend=AGAIN)
    found = [rescore(folder / f"seed-{number}", plugin) for number in seeds]
    _, config = _settings(found[0], folder / f"seed-{seeds[0]}" / "results.json")
    return pool(found, seeds, config)


def _one(before: Results, folder: Path, plugin: Path | None) -> Results:
    wanted = before.provenance.get("plugin_sha256")
    if (sha256_file(plugin) if plugin else None) != wanted:
        raise InputError(
            "the plugin is not the one of this evaluation" if plugin else "needs its plugin",
            where=str(folder),
            mend="Give --plugin with the same file." if wanted else "Leave --plugin out.",
        )
    place = folder / "results.json"
    samples = read_samples(folder / "samples.parquet")
    kind, config = _settings(before, place)
    metrics = compute(samples, kind, config)
    metrics = with_mmlu(metrics + _of_attacks_and_tasks(before, config, metrics, place))
    if "endpoint" in before.provenance:
        metrics = explained(metrics)
    metrics += custom(load_plugin(plugin) if plugin else [], samples, config, metrics)
    metrics = accept(metrics, config.rules(kind, has_before=BEFORE in before.models))
    return replace(before, metrics=tuple(metrics), verdict=overall(metrics), pairs=pairs(samples))


def _settings(results: Results, place: Path) -> tuple[str, EvaluateConfig]:
    """Return the kind of forget set and the settings that the results were computed with."""
    content = dict(results.configuration)
    kind, acceptance = content.pop("kind", None), content.get("acceptance")
    if kind not in USUAL_RULES:
        where, known = f"{place}: configuration.kind", ", ".join(USUAL_RULES)
        raise InputError(f"is none of {known}", where=where, found=repr(kind)[:80], mend=AGAIN)
    if not isinstance(acceptance, Mapping):
        where = f"{place}: configuration.acceptance"
        raise InputError("is no mapping", where=where, found=repr(acceptance)[:80], mend=AGAIN)
    of_attacks = [*ATTACK_RULES.values(), *PAIR_ATTACK_RULES.values()]
    usual = [*USUAL_RULES[kind], *(name for rules in of_attacks for name in rules)]
    stored = content | {"acceptance": dict.fromkeys(usual) | dict(acceptance)}
    return kind, parse(EvaluateConfig, stored, where=f"{place}: configuration")


def _of_attacks_and_tasks(
    before: Results, config: EvaluateConfig, metrics: Sequence[Metric], place: Path
) -> list[Metric]:
    try:
        reports = [AttackReport.of(content) for content in before.attacks]
        found = attack_metrics(reports, config, metrics)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(error, f"{place}: attacks") from error
    try:
        return found + task_metrics(before.tasks)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(error, f"{place}: tasks") from error


def _damaged(error: Exception, where: str) -> InputError:
    what = "is damaged, or of another version"
    found = f"{type(error).__name__}: {error}"[:80]
    return InputError(what, where=where, found=found, mend=AGAIN)
