"""In what range a setting of a method makes sense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgetkit.errors import UsageError


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be.

    Attributes:
        least: the smallest.
        most: the greatest.
        above: `least` itself is out.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Say whether a finite number is in the range."""
        low = value > self.least if self.above else value >= self.least
        return math.isfinite(value) and low and value <= self.most

    def __str__(self) -> str:
        """Return it in words.

        >>> str(Range(0, 1, above=True)), str(Range(0)), str(Range())
        ('above 0, at most 1', 'at least 0', 'any finite number')
        """
        low = f"{'above' if self.above else 'at least'} {self.least:g}"
        parts = [low] if math.isfinite(self.least) else []
        parts += [f"at most {self.most:g}"] if math.isfinite(self.most) else []
        return ", ".join(parts) or "any finite number"


WEIGHT = Range(0)
POSITIVE = Range(0, above=True)
RANGES: Mapping[str, Range] = {
    "forget_weight": WEIGHT,
    "mismatch_weight": WEIGHT,
    "retain_nll": WEIGHT,
    "retain_kl": WEIGHT,
    "retain_jsd": WEIGHT,
    "retain_states": WEIGHT,
    "beta": POSITIVE,
    "wga.beta": WEIGHT,  # 0: every token alike
    "beta1": WEIGHT,
    "beta2": WEIGHT,
    "steering": POSITIVE,
    "scale": WEIGHT,
    "task_vector.scale": POSITIVE,
    "depth_share": Range(0, 1, above=True),
    "dual_rate": WEIGHT,
    "tolerance": POSITIVE,
}
"""Of a setting by its name, or by method and name; one that is not here is any finite number."""


def check_ranges(method: str, settings: Mapping[str, Any]) -> None:
    """Check the settings of a method.

    Raises:
        UsageError: one is out of its range.
    """
    for name, value in settings.items():
        allowed = RANGES.get(f"{method}.{name}", RANGES.get(name, Range()))
        if not allowed.holds(value):
            raise UsageError(
                f"the setting {name} of the method {method} is out of range",
                found=f"{value:g}",
                mend=f"It is {allowed}: --set settings.{name}=NUMBER.",
            )
