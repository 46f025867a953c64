"""Tasks of lm-evaluation-harness before and after, as metrics among the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import Opener
from forgetkit.evaluate.parts import Parts
from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL
from forgetkit.progress import Progress
from forgetkit.results import ABSENT, Estimate, Metric

NORMAL = 1.96
"""Standard errors on either side of a 95 % interval."""


def measure_tasks(
    openers: Mapping[str, Opener | None],
    config: EvaluateConfig,
    progress: Progress,
    parts: Parts,
) -> list[dict[str, Any]]:
    """Run the tasks of the settings on each model; a role that was finished is not run again."""
    found: list[dict[str, Any]] = []
    for role, opener in openers.items():
        if opener is None or not config.tasks:
            continue
        kept = parts.load_rows(f"tasks-{role}")
        if kept is None:
            from forgetkit.lm.harness import run_tasks

            progress.stage(f"tasks ({role})", len(config.tasks))
            scores = run_tasks(
                opener(), config.tasks, limit=config.task_limit, folder=config.task_folder
            )
            kept = [score | {"role": role} for score in scores]
            parts.save_rows(f"tasks-{role}", kept)
            progress.advance(len(config.tasks))
        found += kept
    return found


def task_metrics(rows: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """Return a metric for each task and measure, named `task_<task>_<measure>`."""
    by_name: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_name.setdefault((row["task"], row["measure"]), {})[row["role"]] = row
    return [
        Metric(
            f"task_{task}_{measure}",
            task,
            next(iter(roles.values()))["better"],
            before=_estimate(roles.get(BEFORE)),
            after=_estimate(roles.get(AFTER)),
            control=_estimate(roles.get(RETAIN_MODEL)),
        )
        for (task, measure), roles in by_name.items()
    ]


def _estimate(row: Mapping[str, Any] | None) -> Estimate:
    if row is None:
        return ABSENT
    value, error = float(row["value"]), row["error"]
    if error is None:
        return Estimate(value, int(row["n"]))
    return Estimate(value, int(row["n"]), value - NORMAL * error, value + NORMAL * error)
