"""What a command would do: the answer of `--dry-run`, found in seconds and without writing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORDS = {"new": "runs", "begun": "goes on where it stopped", "done": "is done"}
"""What a command would do, by what its output folder holds."""


@dataclass(frozen=True)
class Plan:
    """What a command would do.

    Attributes:
        what: one of `WORDS`.
        counts: of what would be read and made; estimates end in `, about`.
        warnings: what a person should know before the run.
    """

    what: str
    counts: dict[str, int | float | str]
    warnings: Sequence[str] = ()
