"""The form of what `forgetkit list` shows: metadata, with the formula imported when it runs."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One thing that a user can name.

    Attributes:
        kind: methods, metrics, detectors, attacks or models.
        name: the word on the command line.
        summary: one sentence.
        source: the paper or project it comes from, with its arXiv id.
        loads: `module:attribute` imported when it is used; empty when there is nothing to import.
        reads: the splits of the forget set that it reads.
        defaults: settings and their values, as shown to the user.
        better: of a metric or an attack: lower, higher, or none (reported, never judged alone).
        version: raised when the definition changes.
        worked: a value worked out by hand.
    """

    kind: str
    name: str
    summary: str
    source: str = ""
    loads: str = ""
    reads: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    better: str = ""
    version: int = 1
    worked: str = ""

    def load(self) -> Any:
        """Import what the entry names."""
        module, _, attribute = self.loads.partition(":")
        return getattr(importlib.import_module(module), attribute)
