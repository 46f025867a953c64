"""The command `mine`: find the spans of a corpus that a request is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen, grid, paths

if TYPE_CHECKING:
    from forgetkit.mine import MineResult

MOST_FILES = 20

Corpus = Annotated[
    list[Path],
    typer.Argument(help="Files and folders of the corpus, or hf:org/name[/config][@split]."),
]

MINE = """Find the spans of a corpus that a request is about.

Examples:

  forgetkit mine sample_data/corpus --works sample_data/works --out mined

  forgetkit mine sample_data/harm/corpus.jsonl --detector harm --out mined

  forgetkit mine sample_data/corpus --works sample_data/works --workers 2 --dry-run --out mined
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
        list[str] | None,
        typer.Option(
            "--detector", help="verbatim, semantic, harm, pattern; comma-separated or repeated."
        ),
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
    agree: Annotated[
        int | None,
        typer.Option("--agree", min=1, help="Detectors that must find a place for it to count."),
    ] = None,
    workers: options.Workers = 1,
    engine: options.Engine = "local",
    shard: options.Shard = None,
    dry_run: options.DryRun = False,
    explain: Annotated[
        str | None, typer.Option("--explain", help="Show the span with this id beside its work.")
    ] = None,
    settings: options.Settings = None,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find the spans of a corpus that a request is about."""
    from forgetkit.config import resolve
    from forgetkit.errors import UsageError
    from forgetkit.mine import MineConfig, preview
    from forgetkit.mine import mine as run

    if explain is not None and (dry_run or shard is not None):
        raise UsageError(
            "--explain needs a whole run", mend="Leave out --dry-run and --shard, or --explain."
        )
    flags = options.given(
        settings,
        detectors=",".join(detector) if detector else None,
        classifier=classifier,
        patterns=patterns,
        calibrate=calibrate,
        recall=recall,
        max_bad_rows=max_bad_rows,
        agree=agree,
    )
    chosen = resolve(MineConfig, "mine", flags, config)
    screen = Screen(as_json=as_json, quiet=quiet)
    if dry_run:
        screen.show(Output(command="mine", counts=dict(preview(corpus, chosen))))
        return
    named: dict[str, Any] = {
        "works": works or (),
        "seeds": seeds,
        "config": chosen,
        "workers": workers,
        "engine": engine,
    }
    if shard is not None:
        _shard(corpus, out, shard, screen, named)
        return
    with Bars(screen) as bars:
        found = run(corpus, out, progress=bars, **named)
    if explain is None:
        _show(found, screen)
    else:  # instead, for `--json` prints one object
        from forgetkit_cli.indexes import explain as show

        show(found.outputs["spans.parquet"], explain, works or [], as_json, quiet, debug)


def _shard(
    corpus: list[Path], out: Path, shard: str, screen: Screen, named: dict[str, Any]
) -> None:
    from forgetkit.engine import Shard
    from forgetkit.mine import mine_shard

    part = Shard.parse(shard)
    with Bars(screen) as bars:
        done = mine_shard(corpus, out, part, progress=bars, **named)
    screen.show(Output(command="mine", outputs={"parts": str(out)}, counts=dict(done)))


def _show(found: MineResult, screen: Screen) -> None:
    total = {
        name: sum(file[name] for file in found.accounting.values())
        for name in ("read", "kept", "filtered", "duplicate", "quarantined")
    }
    if not screen.as_json:
        screen.out.print(_books(found.accounting))
        for name, report in found.reports.items():
            if report.get("estimated_recall") is not None:
                screen.out.print(Text(f"{name}: {_recall(report)}"))
    screen.show(
        Output(
            command="mine",
            outputs=paths(found.outputs),
            counts={"spans": sum(found.counts.values()), **found.counts, **total},
            warnings=found.warnings,
            entries=[{"detector": name, **report} for name, report in found.reports.items()],
        )
    )


def _recall(report: Mapping[str, Any]) -> str:
    """Say how much of what the slow model would find was found, and what it never read."""
    unread = report.get("pieces_never_judged", report.get("windows_never_read", 0))
    bounds = f"{report['recall_low']} to {report['recall_high']}"
    return f"estimated recall {report['estimated_recall']} ({bounds}), {unread} pieces never read"


def _books(accounting: Mapping[str, Mapping[str, int]]) -> Table:
    """Return what became of the rows of each file, of the first twenty."""
    names = ("read", "kept", "filtered", "duplicate", "quarantined")
    rows = [[file, *(str(books[n]) for n in names)] for file, books in accounting.items()]
    if len(rows) > MOST_FILES:
        rows = [*rows[:MOST_FILES], [f"and {len(rows) - MOST_FILES} more", *([""] * len(names))]]
    return grid(("file", *names), rows)
