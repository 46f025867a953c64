"""Progress: what a stage tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Listen to a stage; the command line draws bars, a library call stays silent."""

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage of `total` steps; None when the number is not known."""

    def advance(self, n: int = 1) -> None:
        """Go on by `n` steps of the current stage."""

    def note(self, text: str) -> None:
        """Say something worth reading; it never holds text of the corpus."""


class Silent:
    """Say nothing."""

    def stage(self, name: str, total: int | None) -> None:
        """Ignore a stage."""

    def advance(self, n: int = 1) -> None:
        """Ignore steps."""

    def note(self, text: str) -> None:
        """Ignore a note."""


def telling(progress: Progress) -> Callable[[str], None]:
    """Return what a training calls after each step, with a line that says how it goes."""

    def step(line: str) -> None:
        progress.advance()
        progress.note(line)

    return step
