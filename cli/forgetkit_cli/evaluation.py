"""The command evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgetkit.errors import UsageError
from forgetkit_cli import options
from forgetkit_cli.models import metric_rows, metric_table
from forgetkit_cli.screen import Bars, Output, Screen

if TYPE_CHECKING:
    from forgetkit.evaluate import EvaluateConfig
    from forgetkit.evaluate.models import Models
    from forgetkit.results import Results

EVALUATE = """Measure forgetting, utility and language, and judge them by fixed thresholds.

Examples:

  forgetkit evaluate --model unlearned/model --before demo/target
    --forget-set forget_set --out results

  forgetkit evaluate --model demo/target --adapter unlearned/adapter
    --forget-set forget_set --out results

  forgetkit evaluate --model unlearned/model --before demo/target
    --forget-set forget_set --attacks relearn,quantize --out results

  forgetkit evaluate --endpoint http://127.0.0.1:8000/v1 --forget-set forget_set
    --plugin our_metric.py --out results

  forgetkit evaluate --model demo/target --runs runs --forget-set forget_set --out results

  forgetkit evaluate --model unlearned/model --before demo/target
    --forget-set forget_set --out results --dry-run

  forgetkit evaluate --rescore results
"""
NOT_ACCEPTED = 4
_FILES = ("results.json", "samples.parquet")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", help=EVALUATE)(evaluate)


def evaluate(
    model: Annotated[
        str | None, typer.Option("--model", help="Unlearned model, or base of --adapter.")
    ] = None,
    forget_set: Annotated[
        Path | None, typer.Option("--forget-set", help="Folder that build wrote.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; created.")] = None,
    adapter: options.Adapter = None,
    before: options.Before = None,
    retain_model: options.RetainModel = None,
    attacks: Annotated[
        str | None,
        typer.Option("--attacks", help="all, or relearn,quantize,prompts,sampling,detach."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", help="Tasks of lm-evaluation-harness, with commas (lm-eval)."),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", help="OpenAI-compatible server on this machine, not --model."),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option("--runs", help="Folder of `unlearn --seeds`: each on --model, pooled."),
    ] = None,
    plugin: Annotated[
        Path | None, typer.Option("--plugin", help="Python file with metrics of your own.")
    ] = None,
    rescore: Annotated[
        Path | None,
        typer.Option(
            "--rescore",
            help="Compute the metrics of this folder anew; no model. Only --plugin goes with it.",
        ),
    ] = None,
    dry_run: options.DryRun = False,
    settings: options.Settings = None,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure forgetting, utility and language; exit 4 when the thresholds are not met."""
    from forgetkit.config import resolve
    from forgetkit.evaluate import EvaluateConfig, evaluate_seeds
    from forgetkit.evaluate import evaluate as run
    from forgetkit.evaluate import rescore as compute_again
    from forgetkit.evaluate.attacks import chosen_attacks
    from forgetkit.evaluate.models import Models

    screen = Screen(as_json=as_json, quiet=quiet)
    if runs is not None and (adapter or before or endpoint):
        raise UsageError(
            "--runs are adapters on --model, which is before", mend="Leave the others out."
        )
    if rescore is not None:
        _only_rescore(
            model=model,
            forget_set=forget_set,
            out=out,
            adapter=adapter,
            before=before,
            retain_model=retain_model,
            attacks=attacks,
            tasks=tasks,
            endpoint=endpoint,
            runs=runs,
            dry_run=dry_run or None,
            set=settings,
            config=config,
            seed=seed,
        )
        folder, results = rescore, compute_again(rescore, plugin)
    else:
        named = None if attacks is None else list(chosen_attacks(attacks))
        flags = options.given(settings, seed=seed, attacks=named)
        if tasks is not None:
            flags["tasks"] = [name.strip() for name in tasks.split(",") if name.strip()]
        chosen = resolve(EvaluateConfig, "evaluate", flags, config)
        if dry_run:
            named_model = (model or "") if endpoint else options.needed("--model", model)
            _plan(
                screen,
                Models(named_model, adapter, before, retain_model, endpoint),
                options.needed("--forget-set", forget_set),
                options.needed("--out", out),
                runs,
                plugin,
                chosen,
            )
            return
        with Bars(screen) as bars:
            done = (
                evaluate_seeds(
                    options.needed("--model", model),
                    options.needed("--forget-set", forget_set),
                    runs,
                    options.needed("--out", out),
                    retain_model=retain_model,
                    plugin=plugin,
                    config=chosen,
                    progress=bars,
                )
                if runs is not None
                else run(
                    (model or "") if endpoint else options.needed("--model", model),
                    options.needed("--forget-set", forget_set),
                    options.needed("--out", out),
                    adapter=adapter,
                    before=before,
                    retain_model=retain_model,
                    endpoint=endpoint,
                    plugin=plugin,
                    config=chosen,
                    progress=bars,
                )
            )
        folder, results = done.folder, done.results
    show_results(screen, "evaluate", folder, results)


def _plan(
    screen: Screen,
    models: Models,
    forget_set: Path,
    out: Path,
    runs: Path | None,
    plugin: Path | None,
    config: EvaluateConfig,
) -> None:
    from forgetkit.evaluate import plan_evaluate

    plan = plan_evaluate(models, forget_set, out, runs=runs, plugin=plugin, config=config)
    screen.show_plan("evaluate", plan, {"results": str(out)})


def show_results(screen: Screen, command: str, folder: Path, results: Results) -> None:
    """Print what was measured; exit 4 when a threshold was not met."""
    screen.show(
        Output(
            command=command,
            outputs={n.split(".")[0]: str(folder / n) for n in _FILES if (folder / n).is_file()},
            metrics=metric_rows(results),
            verdict=results.verdict,
        ),
        metric_table(results),
    )
    if results.verdict in ("fail", "marginal"):
        raise typer.Exit(NOT_ACCEPTED)


def _only_rescore(**others: object) -> None:
    """Refuse flags that change nothing of what is computed from the stored rows.

    Raises:
        UsageError: one was given.
    """
    given = [
        f"--{name.replace('_', '-')}" for name, value in others.items() if value not in (None, [])
    ]
    if given:
        raise UsageError(
            "--rescore reads what was measured, with the settings and thresholds of then",
            found=", ".join(given),
            mend="Only --plugin goes with it; for the rest evaluate into another folder.",
        )
