"""Commands that load a language model: teach and unlearn; and report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Bars, MetricRow, Output, Screen, grid

if TYPE_CHECKING:
    from rich.table import Table

    from forgetkit.results import Results
    from forgetkit.unlearn import UnlearnConfig

TEACH = """Fine-tune a model until it recites passages, ordinary text mixed in; for experiments.

Examples:

  forgetkit teach smollm2-135m-instruct sample_data/teach.jsonl
    --mix sample_data/retain/general.jsonl --out demo/target

  forgetkit teach path/to/model passages.jsonl --out taught --set until=0.9

  forgetkit teach path/to/model passages.jsonl --out taught --dry-run
"""
UNLEARN = """Train an adapter that suppresses a forget set; keep the best checkpoint.

Examples:

  forgetkit unlearn --model demo/target --forget-set forget_set --method npo --out unlearned

  forgetkit unlearn --model demo/target --forget-set forget_set --method simnpo
    --set settings.beta=1.0 --merge --out unlearned

  forgetkit unlearn --model demo/target --forget-set forget_set
    --set reference_top_k=64 --out unlearned

  forgetkit unlearn --model demo/target --forget-set forget_set --out unlearned --dry-run
"""
REPORT = """Write the report of an evaluation: one self-contained page.

Examples:

  forgetkit report results --out report.html

  forgetkit report results --run unlearned/run.json --include-text --out report.html
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("teach", help=TEACH)(teach)
    app.command("unlearn", help=UNLEARN)(unlearn)
    app.command("report", help=REPORT)(report)


def teach(
    model: Annotated[str, typer.Argument(help="Model: alias, folder or hub id.")],
    data: Annotated[list[Path], typer.Argument(help="Passages (text), or prompts and answers.")],
    out: options.Out,
    mix: Annotated[list[Path] | None, typer.Option("--mix", help="Ordinary text mixed in.")] = None,
    dry_run: options.DryRun = False,
    settings: options.Settings = None,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fine-tune a model until it recites passages."""
    from forgetkit.config import resolve
    from forgetkit.unlearn import TeachConfig, plan_teach
    from forgetkit.unlearn import teach as run

    chosen = resolve(TeachConfig, "teach", options.given(settings, seed=seed), config)
    screen = Screen(as_json=as_json, quiet=quiet)
    if dry_run:
        plan = plan_teach(model, data, out, mix=mix or (), config=chosen)
        screen.show_plan("teach", plan, {"model": str(out)})
        return
    with Bars(screen) as bars:
        taught = run(model, data, out, mix=mix or (), config=chosen, progress=bars)
    screen.show(
        Output(
            command="teach",
            outputs={"model": str(taught.model)},
            counts={
                "extraction strength": taught.extraction_strength,
                "nats on ordinary text": taught.ordinary_nats,
            },
        )
    )


def unlearn(
    model: Annotated[str, typer.Option("--model", help="Target model: alias, folder or hub id.")],
    forget_set: Annotated[Path, typer.Option("--forget-set", help="Folder that build wrote.")],
    out: options.Out,
    method: Annotated[
        str | None, typer.Option("--method", help="See `forgetkit list methods`.")
    ] = None,
    peft: Annotated[
        str | None, typer.Option("--peft", help="lora, rslora, dora, ia3 or none.")
    ] = None,
    rank: Annotated[int | None, typer.Option("--rank", help="Width of the adapter.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak rate of AdamW.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Optimiser steps.")] = None,
    utility_floor: Annotated[
        float | None,
        typer.Option(
            "--utility-floor", help="Utility to keep, share of before; retain weighs what it takes."
        ),
    ] = None,
    merge: Annotated[
        bool | None, typer.Option("--merge/--no-merge", help="Also write the merged model.")
    ] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option("--report-to", help="tensorboard, trackio, mlflow, wandb; or none."),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            min=1,
            help="Run so many seeds, and print mean and standard deviation of what the looks said.",
        ),
    ] = 1,
    dry_run: options.DryRun = False,
    settings: options.Settings = None,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train an adapter that suppresses a forget set."""
    from forgetkit.config import resolve
    from forgetkit.lm.ranks import own_rank
    from forgetkit.unlearn import UnlearnConfig, plan_unlearn, unlearn_seeds
    from forgetkit.unlearn import unlearn as run

    flags = options.given(
        settings,
        seed=seed,
        method=method,
        peft=peft,
        rank=rank,
        learning_rate=learning_rate,
        steps=steps,
        utility_floor=utility_floor,
        merge=merge,
        report_to=None if report_to is None else [n for n in report_to if n != "none"],
    )
    chosen = resolve(UnlearnConfig, "unlearn", flags, config)
    screen = Screen(as_json=as_json, quiet=quiet)
    if dry_run:
        plan = plan_unlearn(model, forget_set, out, seeds=seeds, config=chosen)
        screen.show_plan("unlearn", plan, {"run": str(out)})
        return
    if own_rank():  # of several processes the first one speaks and writes
        if seeds > 1:
            unlearn_seeds(model, forget_set, out, seeds, config=chosen)
        else:
            run(model, forget_set, out, config=chosen)
        return
    if seeds > 1:
        _unlearn_seeds(screen, model, forget_set, out, seeds, chosen)
        return
    with Bars(screen) as bars:
        done = run(model, forget_set, out, config=chosen, progress=bars)
    outputs = {"run": str(out / "run.json")}
    if done.adapter.is_dir():
        outputs = {"adapter": str(done.adapter), **outputs}
    if done.model:
        outputs["model"] = str(done.model)
    counts: dict[str, int | float | str] = {
        "steps": int(done.run["steps"]),
        "best step": int(done.run["best_step"]),
    }
    if done.run.get("stopped"):
        counts["stopped"] = str(done.run["stopped"])
    if "merge" in done.run:
        checked = done.run["merge"]
        counts["merged, largest difference of a logit"] = float(checked["max_logit_difference"])
        counts["merged, extraction strength"] = float(checked["extraction_strength"])
    counts |= _approximation(done.run)
    warnings = list(done.run.get("warnings", ()))
    screen.show(Output(command="unlearn", outputs=outputs, counts=counts, warnings=warnings))


def _approximation(run: Mapping[str, Any]) -> dict[str, str]:
    """Return how far the KL of the reference's most likely tokens was from the exact one."""
    found = {}
    for row in run.get("reference_top_k", ()):
        error = row["relative_error"]
        apart = "" if error is None else f", {100 * error:+.1f} %"
        found[f"retain KL after step {row['step']}"] = (
            f"{row['exact_kl']:.4g} exact, {row['top_k_kl']:.4g} of the top {row['k']}{apart}"
        )
    return found


def _unlearn_seeds(
    screen: Screen, model: str, forget_set: Path, out: Path, seeds: int, config: UnlearnConfig
) -> None:
    from forgetkit.unlearn import unlearn_seeds

    with Bars(screen) as bars:
        done = unlearn_seeds(model, forget_set, out, seeds, config=config, progress=bars)
    counts: dict[str, float] = {"seeds": len(done.runs)}
    for name, found in done.values.items():
        if found["mean"] is not None:
            counts |= {name: found["mean"], f"{name} (sd)": found["sd"]}
    outputs = {f"seed-{n}": str(r.run_file) for n, r in enumerate(done.runs, config.seed)}
    outputs = {"seeds": str(out / "seeds.json"), **outputs}
    warnings = [
        f"seed {n}: {warning}"
        for n, run in enumerate(done.runs, config.seed)
        for warning in run.run.get("warnings", ())
    ]
    screen.show(Output(command="unlearn", outputs=outputs, counts=counts, warnings=warnings))


def report(
    results: Annotated[Path, typer.Argument(help="Folder with results.json.")],
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")],
    run: Annotated[Path | None, typer.Option("--run", help="run.json of unlearn.")] = None,
    include_text: Annotated[
        bool, typer.Option("--include-text", help="Show the protected text.")
    ] = False,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write the report of an evaluation."""
    from forgetkit.report import report as write

    screen = Screen(as_json=as_json, quiet=quiet)
    page = write(results, out, include_text=include_text, run=run)
    screen.show(Output(command="report", outputs={"report": str(page)}))


def metric_rows(results: Results) -> dict[str, MetricRow]:
    """Return the metrics of results as they stand in `--json`."""
    return {
        m.name: MetricRow(
            before=m.before.value,
            after=m.after.value,
            control=m.control.value,
            n=m.after.n,
            low=m.after.low,
            high=m.after.high,
            threshold=m.threshold,
            verdict=m.verdict,
        )
        for m in results.metrics
    }


def metric_table(results: Results) -> Table:
    """Return the table before / after / control with thresholds and verdicts.

    What was neither judged nor could be computed is counted below it.
    """
    from forgetkit.report.summary import HEADER, table

    rows = zip(results.metrics, table(results), strict=True)
    shown = [row for m, row in rows if m.verdict or m.after.value is not None]
    found = grid(HEADER, shown)
    missing = len(results.metrics) - len(shown)
    if missing:
        found.caption = f"{missing} more could not be computed; results.json says why"
        found.caption_justify = "left"
    return found
