"""A recipe from its data to its table: teach, build, then unlearn and evaluate each method.

Every step is a stage with a folder of its own; a finished one is left as it is, so the same
command goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetkit.build import Inputs, build
from forgetkit.evaluate import evaluate
from forgetkit.evaluate.sample import RETAIN_MODEL
from forgetkit.files import locked, write_json, write_text
from forgetkit.forget_set import read_forget_set
from forgetkit.progress import Progress, Silent
from forgetkit.recipes.columns import check_columns
from forgetkit.recipes.data import files_of
from forgetkit.recipes.recipe import Recipe, Size, arm, load_recipe, set_of
from forgetkit.recipes.table import ORIGINAL, RETAIN, Row, content, markdown
from forgetkit.results import ABSENT, Estimate, Metric, Results
from forgetkit.unlearn import teach, unlearn

_OTHER_CONTROL = ("fluency", "diversity", "empty_rate", "attack_", "leak_at_k")
"""Metrics whose control is another than the retain model, even where there is one."""


@dataclass(frozen=True)
class RecipeResult:
    """What `run_recipe` wrote.

    Attributes:
        folder: holds a folder for every step, `table.md` and `table.json`.
        table: the table as Markdown.
        rows: its rows.
        seconds: wall time.
        warnings: what a person should know.
    """

    folder: Path
    table: str
    rows: Sequence[Row]
    seconds: float
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class _Setting:
    """What all methods of a run share."""

    size: Size
    out: Path
    target: str
    retain_model: str | None
    forget_set: Path
    other_sets: Mapping[str, Path]


def run_recipe(
    recipe: Path,
    out: Path,
    *,
    size: str = "small",
    seeds: int = 1,
    seed: int = 0,
    methods: Sequence[str] = (),
    model: str | None = None,
    progress: Progress | None = None,
) -> RecipeResult:
    """Run a recipe and write its table, our numbers beside the published ones.

    Args:
        recipe: a YAML file.
        out: the output folder; with the same one a run goes on, and more seeds or methods join.
        size: which of its sizes.
        seeds: how many times each method is run, with seeds that count from `seed`.
        seed: the first seed.
        methods: rows of the recipe to run; all of them by default.
        model: another model than the recipe's.
        progress: told of each step.

    Raises:
        InputError: the recipe or its data cannot be used.
        UsageError: the size or a method is unknown, or `out` holds something else.
    """
    started, progress = time.monotonic(), progress or Silent()
    plan = load_recipe(recipe)
    chosen = plan.size(size)
    if model is not None:
        chosen = chosen.model_copy(update={"model": model})
    names = chosen.rows(methods)
    with locked(out):
        setting, warnings = _prepare(plan, chosen, names, out, progress)
        numbers = range(seed, seed + seeds)
        found = {name: [_one(setting, name, n, progress) for n in numbers] for name in names}
        rows = _rows(plan, found)
        notes = {"size": size, "seeds": list(numbers), "model": chosen.model}
        table = markdown(plan, rows, notes)
        write_json(out / "table.json", content(plan, rows, notes))
        write_text(out / "table.md", table)
    return RecipeResult(out, table, rows, time.monotonic() - started, warnings)


def _prepare(
    plan: Recipe, size: Size, names: Sequence[str], out: Path, progress: Progress
) -> tuple[_Setting, list[str]]:
    """Gather the data, teach the models and build the forget set, once more for other answers."""

    def files(role: str) -> list[Path]:
        return files_of(getattr(size.data, role), out / "data", progress)

    def taught(role: str, folder: str) -> str | None:
        if not getattr(size.data, role):
            return None
        done = teach(
            size.model,
            files(role),
            out / folder,
            mix=files("mix"),
            config=size.teach,
            progress=progress,
        )
        return str(done.model)

    target = taught("teach", "target") or size.model
    inputs = Inputs(
        ready=files("forget"),
        prompts=next(iter(files("prompts")), None),
        retain=files("retain"),
        holdout=files("holdout"),
        general=files("general"),
        rephrased=files("rephrased"),
        probes=files("probes"),
        refusals=next(iter(files("refusals")), None),
        model=target,
    )
    built = build(inputs, out / "forget_set", config=size.build, progress=progress)
    check_columns(plan.columns, size.evaluate, read_forget_set(built.folder), where=plan.title)
    retain_model = taught("teach_retain", "retain_model")
    others: dict[str, Path] = {}
    for config in (set_of(size, name) for name in names):
        if config.mismatch != size.build.mismatch and config.mismatch not in others:
            folder = out / f"forget_set-{config.mismatch}"
            others[config.mismatch] = build(inputs, folder, config=config, progress=progress).folder
    setting = _Setting(size, out, target, retain_model, built.folder, others)
    return setting, list(built.warnings)


def _one(
    setting: _Setting, name: str, seed: int, progress: Progress
) -> tuple[Results, Mapping[str, Any]]:
    """Unlearn with one method and seed, and evaluate; return results and `run.json`.

    Every method is evaluated on the same set: only the answers that it trains on are its own.
    """
    folder = setting.out / f"seed-{seed}" / name
    config = arm(setting.size, name, seed=seed)
    done = unlearn(
        setting.target,
        setting.other_sets.get(set_of(setting.size, name).mismatch, setting.forget_set),
        folder / "unlearned",
        config=config,
        progress=progress,
    )
    with_adapter = done.adapter.is_dir()
    measured = evaluate(
        setting.target if with_adapter else str(done.model),
        setting.forget_set,
        folder / "evaluation",
        adapter=done.adapter if with_adapter else None,
        before=setting.target,
        retain_model=setting.retain_model,
        shared=setting.out / "before",
        config=setting.size.evaluate,
        progress=progress,
    )
    return measured.results, done.run


def _rows(
    plan: Recipe, found: Mapping[str, Sequence[tuple[Results, Mapping[str, Any]]]]
) -> list[Row]:
    """Return the table's rows: the models before and of retain, then each method over its seeds."""
    results = [one for runs in found.values() for one, _ in runs]
    before = {c: [_metric(results[0], c).before] for c in plan.columns}
    rows = [Row(ORIGINAL, before, (), plan.published.get(ORIGINAL, {}))]
    if RETAIN_MODEL in results[0].models:
        control = {c: [_of_retain_model(results[0], c)] for c in plan.columns}
        rows.append(Row(RETAIN, control, (), plan.published.get(RETAIN_MODEL, {})))
    for name, runs in found.items():
        values = {c: [_metric(one, c).after for one, _ in runs] for c in plan.columns}
        seconds = tuple(float(run["training_seconds"]) for _, run in runs)
        rows.append(Row(name, values, seconds, plan.published.get(name, {})))
    return rows


def _metric(results: Results, name: str) -> Metric:
    """Return a metric; an attack that could not be run lacks the numbers beside its first."""
    found = (metric for metric in results.metrics if metric.name == name)
    return next(found, Metric(name, "", "none"))


def _of_retain_model(results: Results, name: str) -> Estimate:
    """Return the control of a metric where the retain model is it."""
    return ABSENT if name.startswith(_OTHER_CONTROL) else _metric(results, name).control
