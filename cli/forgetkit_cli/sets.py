"""Commands that make forget sets: build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen

BUILD = """Build a forget set: forget, mismatch, retain, holdout, and probes for evaluation.

Examples:

  forgetkit build --spans deduped/spans.parquet --accept-all --works sample_data/works
    --retain sample_data/retain/general.jsonl --holdout sample_data/holdout
    --general sample_data/general_eval.jsonl --model demo/target --out forget_set

  forgetkit build --from pairs.jsonl --retain ordinary.jsonl --holdout others.jsonl --out set

  forgetkit build --from pairs.jsonl --retain ordinary.jsonl --out set --dry-run
"""
Paths = list[Path] | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("build", help=BUILD)(build)


def build(
    out: options.Out,
    spans: Annotated[Path | None, typer.Option("--spans", help="spans.parquet.")] = None,
    decisions: Annotated[
        Path | None, typer.Option("--decisions", help="Decisions of a review.")
    ] = None,
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Undecided spans count as accepted.")
    ] = False,
    ready: Annotated[
        Paths,
        typer.Option(
            "--from", help="Ready forget data, or a folder of splits; FOLDER@NAME chooses."
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="Prompts whose answers by the model are to be forgotten."),
    ] = None,
    works: Annotated[Paths, typer.Option("--works", help="The works `mine` was given.")] = None,
    retain: Annotated[Paths, typer.Option("--retain", help="Ordinary data to keep.")] = None,
    holdout: Annotated[
        Paths, typer.Option("--holdout", help="Data like forget, never trained on.")
    ] = None,
    general: Annotated[
        Paths, typer.Option("--general", help="Ordinary text to measure utility on.")
    ] = None,
    refusals: Annotated[
        Path | None, typer.Option("--refusals", help="Answers for the mismatch kind refusal.")
    ] = None,
    alternatives: Annotated[
        Path | None,
        typer.Option("--alternatives", help="Prompts and answers for the kind alternative."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Target model: ranks what it recites.")
    ] = None,
    rank: Annotated[
        bool | None,
        typer.Option(
            "--rank-by-memorization/--no-rank", help="Set aside what the model cannot say."
        ),
    ] = None,
    mismatch: Annotated[
        str | None,
        typer.Option("--mismatch", help="ordinary, refusal, neutral, right or alternative."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference-model", help="Knows neither forget nor holdout: matches them."),
    ] = None,
    allow_overlap: Annotated[
        bool | None, typer.Option("--allow-overlap", help="Go on when splits overlap.")
    ] = None,
    exports: Annotated[
        list[str] | None,
        typer.Option(
            "--export", help="Write it for trl, open-unlearning or as jsonl too; may be repeated."
        ),
    ] = None,
    workers: options.Workers = 1,
    dry_run: options.DryRun = False,
    settings: options.Settings = None,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Build a forget set."""
    from forgetkit.build import BuildConfig, Inputs, plan_build
    from forgetkit.build import build as run
    from forgetkit.build.exports import FOLDER, check_form, export
    from forgetkit.config import resolve

    for form in exports or ():
        check_form(form)

    flags = options.given(
        settings,
        seed=seed,
        rank_by_memorization=rank,
        mismatch=mismatch,
        allow_overlap=allow_overlap,
    )
    inputs = Inputs(
        spans=spans,
        decisions=decisions,
        accept_all=accept_all,
        ready=ready or (),
        prompts=prompts,
        works=works or (),
        retain=retain or (),
        holdout=holdout or (),
        general=general or (),
        refusals=refusals,
        alternatives=alternatives,
        model=model,
        reference=reference,
    )
    chosen = resolve(BuildConfig, "build", flags, config)
    screen = Screen(as_json=as_json, quiet=quiet)
    if dry_run:
        plan = plan_build(inputs, out, config=chosen)
        screen.show_plan("build", plan, {"forget_set": str(out)})
        return
    with Bars(screen) as bars:
        built = run(inputs, out, config=chosen, progress=bars, workers=workers)
    outputs = {"forget_set": str(built.folder)}
    for form in exports or ():
        outputs[form] = str(built.folder / FOLDER / form)
        export(built.folder, form, built.folder / FOLDER / form)
    screen.show(
        Output(
            command="build",
            outputs=outputs,
            counts=dict(built.counts),
            warnings=list(built.warnings),
        )
    )
