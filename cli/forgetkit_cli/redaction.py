"""The command `redact`: the corpus without the accepted spans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen, paths

REDACT = """Write a corpus without its accepted spans, every other byte as it was.

A file without a span is copied as it is, and read once to count its documents. One that changes
keeps its codec (gzip, zstd, each Parquet column's), not its level, which no format records.

Examples:

  forgetkit redact sample_data/corpus --spans mined/spans.parquet --accept-all --out clean

  forgetkit redact corpus.jsonl --spans case/deduped/spans.parquet
    --decisions case/decisions.sqlite --mode mask --placeholder "[withheld]" --out clean
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("redact", help=REDACT)(redact)


def redact(
    corpus: Annotated[list[Path], typer.Argument(help="What `mine` was given.")],
    out: options.Out,
    spans: Annotated[Path, typer.Option("--spans", help="spans.parquet.")],
    decisions: Annotated[
        Path | None, typer.Option("--decisions", help="Decisions of a review.")
    ] = None,
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Undecided spans count as accepted.")
    ] = False,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="drop the document, cut the span, or mask it."),
    ] = None,
    placeholder: Annotated[
        str | None, typer.Option("--placeholder", help="What stands in place of a masked span.")
    ] = None,
    workers: options.Workers = 1,
    engine: options.Engine = "local",
    dry_run: options.DryRun = False,
    settings: options.Settings = None,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write a corpus without its accepted spans."""
    from forgetkit.config import resolve
    from forgetkit.redact import RedactConfig, preview
    from forgetkit.redact import redact as run

    flags = options.given(settings, mode=mode, placeholder=placeholder)
    chosen = resolve(RedactConfig, "redact", flags, config)
    screen = Screen(as_json=as_json, quiet=quiet)
    if dry_run:
        counts = preview(corpus, spans, decisions, accept_all=accept_all)
        screen.show(Output(command="redact", counts=dict(counts)))
        return
    with Bars(screen) as bars:
        done = run(
            corpus,
            spans,
            out,
            decisions=decisions,
            accept_all=accept_all,
            config=chosen,
            progress=bars,
            workers=workers,
            engine=engine,
        )
    screen.show(
        Output(
            command="redact",
            outputs=paths(done.outputs),
            counts=dict(done.counts),
            warnings=done.warnings,
        )
    )
