"""The command `dedupe`: copies among the documents of a corpus, or among mined spans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forgetkit.errors import UsageError
from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen, paths

DEDUPE = """Drop the copies in a corpus, or group the spans of a spans file.

Examples:

  forgetkit dedupe mined/spans.parquet --out deduped

  forgetkit dedupe sample_data/corpus --keep longest --out deduplicated
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dedupe", help=DEDUPE)(dedupe)


def dedupe(
    source: Annotated[list[Path], typer.Argument(help="A corpus, or one spans.parquet.")],
    out: options.Out,
    level: Annotated[
        str | None, typer.Option("--level", help="document, paragraph or line.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", help="Exact copies by letters and digits (folded), or raw."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Least Jaccard of near duplicates.")
    ] = None,
    near: Annotated[
        bool | None, typer.Option("--near/--exact", help="Near duplicates too, or exact only.")
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify-representative", help="Drop only copies of what stays, not chains of copies."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", help="first, longest, newest:COLUMN or best:COLUMN."),
    ] = None,
    prefer: Annotated[
        list[str] | None,
        typer.Option("--prefer", help="Files that stay before others (pattern); may be repeated."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Another corpus; what it holds goes from this one."),
    ] = None,
    against_only: Annotated[
        bool | None, typer.Option("--against-only", help="Keep copies within this corpus.")
    ] = None,
    annotate: Annotated[
        bool | None, typer.Option("--annotate", help="Write labels; change nothing.")
    ] = None,
    signatures: Annotated[
        Path | None,
        typer.Option("--signatures", help="Folder of signatures: read, and added to."),
    ] = None,
    semantic: Annotated[
        str | None, typer.Option("--semantic", help="Same meaning: off, label or drop.")
    ] = None,
    max_source_loss: Annotated[
        float | None,
        typer.Option("--max-source-loss", help="Share of a file lost that gives a warning."),
    ] = None,
    max_bad_rows: Annotated[
        int | None, typer.Option("--max-bad-rows", min=0, help="Bad rows that are allowed.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Threads.")] = 1,
    settings: options.Settings = None,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Drop the copies in a corpus, or group the spans of a spans file."""
    from forgetkit.config import resolve
    from forgetkit.dedupe import DedupeConfig, dedupe_spans
    from forgetkit.dedupe import dedupe as run

    flags = options.given(
        settings,
        level=level,
        compare=compare,
        threshold=threshold,
        near=near,
        verify_representative=verify,
        prefer=prefer or None,
        against_only=against_only,
        annotate=annotate,
        semantic=semantic,
        max_source_loss=max_source_loss,
        max_bad_rows=max_bad_rows,
        seed=seed,
        **_keep(keep),
    )
    chosen = resolve(DedupeConfig, "dedupe", flags, config)
    screen = Screen(as_json=as_json, quiet=quiet)
    with Bars(screen) as bars:
        if len(source) == 1 and source[0].name.endswith("spans.parquet"):
            if against or signatures:
                raise UsageError("--against and --signatures are for corpora, not for spans")
            done = dedupe_spans(source[0], out, config=chosen, progress=bars)
        else:
            done = run(
                source,
                out,
                against=against or (),
                signatures=signatures,
                config=chosen,
                workers=workers,
                progress=bars,
            )
    screen.show(
        Output(
            command="dedupe",
            outputs=paths(done.outputs),
            counts=dict(done.counts),
            warnings=list(done.warnings),
        )
    )


def _keep(value: str | None) -> dict[str, Any]:
    """Split `newest:COLUMN` into its two settings."""
    if value is None:
        return {}
    policy, _, column = value.partition(":")
    return {"keep": policy, "keep_column": column or None}
