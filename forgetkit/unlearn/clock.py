"""How long each phase of a run took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Adds up the wall time of named phases; a phase inside another is not counted twice.

    Attributes:
        seconds: by name of the phase.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = 0.0

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what runs inside, less the phases in it."""
        began, outside, self._inside = time.monotonic(), self._inside, 0.0
        try:
            yield
        finally:
            took = time.monotonic() - began
            self.add(name, took - self._inside)
            self._inside = outside + took

    def add(self, name: str, seconds: float) -> None:
        """Add to a phase."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def move(self, seconds: float, *, of: str, to: str) -> None:
        """Count a part of a phase as another."""
        self.add(of, -seconds)
        self.add(to, seconds)

    def rounded(self) -> dict[str, float]:
        """Return the seconds of all phases, for `run.json`."""
        return {name: round(value, 2) for name, value in self.seconds.items()}
