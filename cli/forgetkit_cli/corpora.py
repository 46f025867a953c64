"""The command `mine`: find the spans of a corpus that a request is about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen, paths

Corpus = Annotated[list[Path], typer.Argument(help="Files and folders of the corpus.")]

MINE = """Find the spans of a corpus that a request is about.

Examples:

  forgetkit mine sample_data/corpus --works sample_data/works --out mined

  forgetkit mine sample_data/harm/corpus.jsonl --detector harm --out mined
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mine", help=MINE)(mine)


def mine(
    corpus: Corpus,
    out: options.Out,
    works: Annotated[
        list[Path] | None,
        typer.Option("--works", help="Protected works: text files, tables, or their index."),
    ] = None,
    seeds: Annotated[
        Path | None, typer.Option("--seeds", help="Texts to search near: lines, or JSONL.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option("--detector", help="verbatim, semantic, harm, pattern; comma-separated."),
    ] = None,
    patterns: Annotated[
        Path | None, typer.Option("--patterns", help="Words, names, regular expressions: a file.")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option("--classifier", help="bundled, detoxify:NAME, a folder or a hub id."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Labelled documents that set the thresholds."),
    ] = None,
    recall: Annotated[
        float | None, typer.Option("--recall", help="Recall that calibrated thresholds keep.")
    ] = None,
    max_bad_rows: Annotated[
        int | None, typer.Option("--max-bad-rows", min=0, help="Bad rows that are allowed.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", help="Show the span with this id beside its work.")
    ] = None,
    settings: options.Settings = None,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find the spans of a corpus that a request is about."""
    from forgetkit.config import resolve
    from forgetkit.mine import MineConfig
    from forgetkit.mine import mine as run

    flags = options.given(
        settings,
        detectors=detector,
        classifier=classifier,
        patterns=patterns,
        calibrate=calibrate,
        recall=recall,
        max_bad_rows=max_bad_rows,
    )
    screen = Screen(as_json=as_json, quiet=quiet)
    with Bars(screen) as bars:
        found = run(
            corpus,
            out,
            works=works or (),
            seeds=seeds,
            config=resolve(MineConfig, "mine", flags, config),
            progress=bars,
        )
    if explain is not None:
        from forgetkit_cli.indexes import explain as show

        show(found.outputs["spans.parquet"], explain, works or [], as_json, quiet, debug)
        return
    total = {
        name: sum(file[name] for file in found.accounting.values())
        for name in ("read", "kept", "quarantined")
    }
    warnings = list(found.warnings)
    missing = [f"the work '{work}' was not found in the corpus" for work in found.missing_works]
    warnings += [text for text in missing if text not in warnings]
    screen.show(
        Output(
            command="mine",
            outputs=paths(found.outputs),
            counts={"spans": len(found.spans), **found.counts, **total},
            warnings=warnings,
        )
    )
