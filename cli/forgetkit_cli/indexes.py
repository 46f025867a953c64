"""Commands over indexes of works and what they found: index, explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Output, Screen, grid

if TYPE_CHECKING:
    from forgetkit.mine.explain import Explanation

Works = Annotated[list[Path], typer.Argument(help="Protected works: text files or tables.")]

INDEX = """Index works once, for many runs of mine.

Examples:

  forgetkit index sample_data/works --out works.idx

  forgetkit index sample_data/works --set seed_density=4 --out dense.idx
"""
EXPLAIN = """Show a span beside its work, word against word.

Marks: = equal, ~ equal letters and digits, | changed, < only in the document, > only in the work.

Examples:

  forgetkit explain mined/spans.parquet 3f2a --works sample_data/works

  forgetkit explain mined/spans.parquet 3f2a --works works.idx --json
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("index", help=INDEX)(index)
    app.command("explain", help=EXPLAIN)(explain)


def index(
    works: Works,
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    settings: options.Settings = None,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Index works once, for many runs of mine."""
    from forgetkit.config import resolve
    from forgetkit.mine import MineConfig
    from forgetkit.mine.indexing import index_works

    chosen = resolve(MineConfig, "mine", options.given(settings), config)
    done = index_works(works, out, config=chosen)
    Screen(as_json=as_json, quiet=quiet).show(
        Output(
            command="index",
            outputs={"index": str(done.path)},
            counts={"works": done.works, "bytes": done.bytes, "sha256": done.sha256},
        )
    )


def explain(
    spans: Annotated[Path, typer.Argument(help="A spans.parquet.")],
    span_id: Annotated[str, typer.Argument(help="The span's id, or how it begins.")],
    works: Annotated[
        list[Path], typer.Option("--works", help="The works that were searched, or their index.")
    ],
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show a span beside its work."""
    from forgetkit.mine.explain import explain as run

    screen = Screen(as_json=as_json, quiet=quiet)
    show(screen, run(spans, span_id, works, width=max(20, (screen.out.width - 5) // 2)))


def show(screen: Screen, explained: Explanation) -> None:
    """Print a span beside its work: untrusted text, so control characters are made harmless."""
    span = explained.span
    rows = [(line.here, line.mark, line.there) for line in explained.lines]
    counts: dict[str, int | float | str] = {
        "start": span.start,
        "end": span.end,
        "similarity": span.similarity or 0.0,
    }
    screen.show(
        Output(
            command="explain",
            counts=counts,
            entries=[{"document": a, "mark": mark, "work": b} for a, mark, b in rows],
        ),
        grid((f"{span.source} [{span.start}, {span.end})", "", span.work_id or ""), rows),
    )
