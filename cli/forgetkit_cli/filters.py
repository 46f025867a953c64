"""The command that trains a filter: train-filter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen

TRAIN = """Train a fast harm filter on labelled text, or on what a stronger classifier says.

Examples:

  forgetkit train-filter labels.jsonl --out filter

  forgetkit train-filter corpus --teacher detoxify:original --out filter
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train-filter", help=TRAIN)(train_filter)


def train_filter(
    labels: Annotated[
        list[Path],
        typer.Argument(help="Rows with `label` or `labels`; with --teacher, any corpus."),
    ],
    out: options.Out,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", help="Classifier that labels: detoxify:NAME, folder, hub id."),
    ] = None,
    category: Annotated[
        str | None, typer.Option("--category", help="Category of rows that name none.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option("--embedder", help="Train a second stage over it, e.g. minilm.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option("--recall", help="Recall that the threshold is set for.")
    ] = None,
    settings: options.Settings = None,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a filter."""
    from forgetkit.classify.training import FilterConfig
    from forgetkit.classify.training import train_filter as run
    from forgetkit.config import resolve

    flags = options.given(
        settings, teacher=teacher, category=category, embedder=embedder, recall=recall
    )
    screen = Screen(as_json=as_json, quiet=quiet)
    with Bars(screen) as bars:
        chosen = resolve(FilterConfig, "train_filter", flags, config)
        made = run(labels, out, config=chosen, progress=bars)
    screen.show(
        Output(
            command="train-filter",
            outputs={"filter": str(made.folder), "card": str(made.folder / "README.md")},
            counts=_counts(made.card),
            warnings=made.warnings,
        )
    )


def _counts(card: dict[str, Any]) -> dict[str, int | float | str]:
    """Return the figures of the stage that decides: the head where there is one."""
    found: dict[str, int | float | str] = {}
    held_out = card["second"]["held_out"] if "second" in card else card["held_out"]
    for name, row in held_out.items():
        found[f"{name} held out"] = row["n"]
        found[f"{name} AUC"] = "-" if row["auc"] is None else row["auc"]
        for rate in ("precision", "recall"):
            value = row[rate]["value"]
            found[f"{name} {rate}"] = "-" if value is None else value
    return found
