"""The books of one build: what was counted, what was set aside, what a person should know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Books:
    """Take notes during one build.

    Attributes:
        counts: numbers by reason.
        warnings: what a person should know.
        findings: what the checks found, for manifest and card.
    """

    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    findings: dict[str, Any] = field(default_factory=dict)

    def count(self, reason: str, number: int) -> None:
        """Add to a number; nothing is written for zero of a reason not seen before."""
        if number or reason in self.counts:
            self.counts[reason] = self.counts.get(reason, 0) + number
