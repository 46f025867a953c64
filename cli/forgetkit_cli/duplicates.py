"""The command `dedupe`: copies among the documents of a corpus, or among mined spans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgetkit.errors import UsageError, nearest
from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen, paths

if TYPE_CHECKING:
    from forgetkit.dedupe import DedupeConfig, DedupeResult

DEDUPE = """Drop the copies in a corpus, or group the spans of a spans file.

Examples:

  forgetkit dedupe mined/spans.parquet --out deduped

  forgetkit dedupe sample_data/corpus --keep longest --out deduplicated
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dedupe", help=DEDUPE)(dedupe)


def dedupe(
    source: Annotated[
        list[Path],
        typer.Argument(help="A corpus (also hf:org/name[/config][@split]), or one spans file."),
    ],
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
    workers: options.Workers = 1,
    engine: options.Engine = "local",
    shard: options.Shard = None,
    dry_run: options.DryRun = False,
    settings: options.Settings = None,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Drop the copies in a corpus, or group the spans of a spans file."""
    from forgetkit.config import resolve
    from forgetkit.dedupe import DedupeConfig, holds_spans

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
    named: dict[str, Any] = {
        "against": against or (),
        "signatures": signatures,
        "config": chosen,
        "workers": workers,
        "engine": engine,
    }
    of_spans = next((path for path in source if holds_spans(path)), None)
    if of_spans is not None:
        if len(source) > 1:
            raise UsageError(
                "a spans file is grouped alone",
                where=str(of_spans),
                found=f"{len(source)} inputs",
                mend="Name one spans file, or a corpus.",
            )
        if against or signatures or shard or engine != "local" or workers != 1:
            raise UsageError(
                "--against, --signatures, --shard, --engine and --workers are for corpora, "
                "not for spans"
            )
        _spans(source[0], out, chosen, screen, dry_run)
    else:
        _corpus(source, out, shard, named, screen, dry_run)


def _spans(source: Path, out: Path, config: DedupeConfig, screen: Screen, dry_run: bool) -> None:
    from forgetkit.dedupe import dedupe_spans
    from forgetkit.spans import read_spans

    if dry_run:
        screen.show(Output(command="dedupe", counts={"spans": len(read_spans(source))}))
        return
    with Bars(screen) as bars:
        done = dedupe_spans(source, out, config=config, progress=bars)
    _show(done, screen)


def _corpus(
    source: list[Path],
    out: Path,
    shard: str | None,
    named: dict[str, Any],
    screen: Screen,
    dry_run: bool,
) -> None:
    from forgetkit.dedupe import dedupe as run
    from forgetkit.dedupe import dedupe_shard, preview
    from forgetkit.engine import Shard

    if dry_run:
        counts = preview(source, against=named["against"], config=named["config"])
        screen.show(Output(command="dedupe", counts=dict(counts)))
        return
    if shard is None:
        with Bars(screen) as bars:
            done = run(source, out, progress=bars, **named)
        _show(done, screen)
        return
    part = Shard.parse(shard)
    with Bars(screen) as bars:
        tasks = dedupe_shard(source, out, part, progress=bars, **named)
    screen.show(Output(command="dedupe", outputs={"parts": str(out)}, counts=dict(tasks)))


def _show(done: DedupeResult, screen: Screen) -> None:
    screen.show(
        Output(
            command="dedupe",
            outputs=paths(done.outputs),
            counts=dict(done.counts),
            warnings=list(done.warnings),
        )
    )


def _keep(value: str | None) -> dict[str, Any]:
    """Split `newest:COLUMN` into its two settings.

    Raises:
        UsageError: an unknown policy, or a column that is missing or too much.
    """
    if value is None:
        return {}
    policy, _, column = value.partition(":")
    known = ("first", "longest", "newest", "best")
    if policy not in known:
        raise UsageError(f"unknown --keep '{policy}'", mend=nearest(policy, known))
    if policy in ("newest", "best"):
        if not column:
            raise UsageError(f"--keep {policy} needs a column", mend=f"Write {policy}:COLUMN.")
    elif column:
        raise UsageError(f"--keep {policy} takes no column", found=column)
    return {"keep": policy, "keep_column": column or None}
