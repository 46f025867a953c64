"""What the terminal shows: progress on stderr, results on stdout, untrusted text made harmless."""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from forgetkit.plan import Plan


class MetricRow(BaseModel):
    """One metric in a command's `--json` object."""

    model_config = ConfigDict(extra="forbid")

    before: float | None
    after: float | None
    control: float | None
    n: int
    low: float | None
    high: float | None
    threshold: str
    verdict: str | None


class Output(BaseModel):
    """What every command prints with `--json`, one object."""

    model_config = ConfigDict(extra="forbid")

    command: str
    outputs: dict[str, str] = {}
    counts: dict[str, int | float | str] = {}
    metrics: dict[str, MetricRow] = {}
    verdict: str | None = None
    seconds: float = 0.0
    warnings: list[str] = []
    entries: list[dict[str, Any]] = []


def safe(text: str) -> str:
    """Return text without control, bidi and other invisible characters, for a terminal."""
    return "".join(
        "�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text
    )


class Screen:
    """Shows stages as they run and results at the end.

    Args:
        as_json: print one JSON object instead of tables.
        quiet: no progress and no notes.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False)
        self.started = time.monotonic()

    def show_plan(self, command: str, plan: Plan, outputs: Mapping[str, str]) -> None:
        """Print what a command would do."""
        counts = {"plan": plan.what} | plan.counts
        output = Output(command=command, outputs=dict(outputs), counts=counts)
        output.warnings = list(plan.warnings)
        rows = [
            (name, value if isinstance(value, str) else f"{value:,.10g}")
            for name, value in plan.counts.items()
        ]
        self.show(output, grid(("plan", plan.what), rows))

    def show(self, output: Output, table: Table | None = None) -> None:
        """Print a command's result: the object, or the table, counts, outputs and warnings."""
        output.seconds = round(time.monotonic() - self.started, 2)
        if self.as_json:
            sys.stdout.write(json.dumps(output.model_dump(), ensure_ascii=False) + "\n")
            return
        if table is not None:
            self.out.print(table)
        if output.counts and table is None:
            words = [f"{safe(str(k))} {v}" for k, v in output.counts.items()]
            self.out.print(Text(" · ".join(words)))
        for name, path in output.outputs.items():
            self.out.print(Text(f"{safe(name)}: {safe(path)}"))
        for warning in output.warnings:
            self.err.print(Text(f"warning: {safe(warning)}", style="yellow"))


RECENT = 600
"""Seconds whose pace says how long the rest takes; a step of training may take half a minute."""


class _Time(ProgressColumn):
    """Time since a stage began, and about how much is left where that is known."""

    def render(self, task: Task) -> Text:
        """Return both as hours, minutes and seconds."""
        passed = task.finished_time if task.finished else task.elapsed
        words = str(timedelta(seconds=int(passed or 0)))
        if not task.finished and task.time_remaining is not None:
            words += f", {timedelta(seconds=int(task.time_remaining))} left"
        return Text(words, style="progress.elapsed")


class _Live(Progress):
    """One line a stage, and below them what the current one says: losses are as long as a line."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the lines."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["note"]:
                yield Text(f"  {task.fields['note']}", "dim", no_wrap=True, overflow="ellipsis")


class Bars:
    """Progress of a library call: one bar a stage on a terminal, one line a stage elsewhere."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._name, self._began, self._done = "", 0.0, 0
        self._total: int | None = None

    def __enter__(self) -> Bars:
        """Begin to draw."""
        if self._screen.err.is_terminal and not self._screen.quiet:
            self._live = _Live(
                TextColumn("{task.description}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                _Time(),
                console=self._screen.err,
                speed_estimate_period=RECENT,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the last stage."""
        self._close(finished=error is None)
        if self._live:
            self._live.stop()

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage."""
        self._close(finished=True)
        self._name, self._began, self._done, self._total = name, time.monotonic(), 0, total
        if self._live:
            self._task = self._live.add_task(safe(name), total=total, note="")

    def advance(self, n: int = 1) -> None:
        """Go on."""
        self._done += n
        if self._live and self._task is not None:
            self._live.advance(self._task, n)

    def note(self, text: str) -> None:
        """Show a note below the bars."""
        if self._live and self._task is not None:
            self._live.update(self._task, note=safe(text))

    def _close(self, *, finished: bool) -> None:
        if not self._name:
            return
        if self._live and self._task is not None:
            if finished:
                total = self._total if self._total is not None else max(self._done, 1)
                self._live.update(self._task, total=total, completed=total, note="")
            self._live.stop_task(self._task)
        elif not self._screen.quiet and finished:
            seconds = time.monotonic() - self._began
            count = f"{self._done}" if self._done else ""
            self._screen.err.print(Text(f"{self._name:<44} {count:>8} {seconds:7.1f} s"))
        self._name, self._task = "", None


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Make a table of untrusted cells; verdicts are coloured."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    colours = {"pass": "green", "marginal": "yellow", "fail": "red"}
    for row in rows:
        table.add_row(*(Text(safe(c), style=colours.get(c, "")) for c in row))
    return table


def paths(outputs: Mapping[str, Path]) -> dict[str, str]:
    """Return outputs as strings."""
    return {name: str(path) for name, path in outputs.items()}
