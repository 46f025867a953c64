"""ROC: how well the loss tells the forget set from text that was never trained on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from forgetkit.report.charts import Picture
from forgetkit.report.drawing import AFTER, BEFORE, GRID, INK, canvas, to_svg
from forgetkit.report.text import number

_LEAST = 5  # examples a side
_POINTS = 200

Curve = list[tuple[float, float]]


def roc(pairs: Sequence[Mapping[str, Any]]) -> Picture | None:
    """Draw the ROC by the loss before and after; None with fewer than five examples a side."""
    curves: dict[str, tuple[Curve, int]] = {}
    for role in ("before", "after"):
        forget, holdout = (_losses(pairs, split, role) for split in ("forget", "holdout"))
        if min(len(forget), len(holdout)) >= _LEAST:
            curves[role] = (roc_points(forget, holdout), min(len(forget), len(holdout)))
    if not curves:
        return None
    title = "Who was trained on: ROC by the loss"
    with canvas(3.3) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=GRID, lw=1.0, zorder=0)
        for role, (points, _) in curves.items():
            colour, line = (BEFORE, "--") if role == "before" else (AFTER, "-")
            shown = points[:: max(1, len(points) // _POINTS)]
            shown = shown if shown[-1] == points[-1] else [*shown, points[-1]]
            axes.plot(*zip(*shown, strict=True), color=colour, ls=line, lw=1.6, label=role)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("Share of holdout taken for forget text")
        axes.set_ylabel("Share of forget text found")
        figure.legend(loc="outside upper left", ncols=2, labelcolor=INK, fontsize=9)
        words = " ".join(
            f"{role}: area {number(area(points))}, at least {n} examples a side."
            for role, (points, n) in curves.items()
        )
        svg = to_svg(figure, "roc", title, words)
    caption = f"The diagonal is chance. {words} Such numbers are weak evidence."
    return Picture(title, svg, caption)


def _losses(pairs: Sequence[Mapping[str, Any]], split: str, role: str) -> list[float]:
    values = ((p.get(role) or {}).get("nll") for p in pairs if p.get("split") == split)
    return [float(v) for v in values if v is not None]


def roc_points(forget: Sequence[float], holdout: Sequence[float]) -> Curve:
    """Return (false, true) positive rates as the allowed loss rises, from (0, 0) to (1, 1).

    >>> roc_points([1.0], [2.0])
    [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    """
    found, hits, alarms = [(0.0, 0.0)], 0, 0
    ranked = sorted([(v, True) for v in forget] + [(v, False) for v in holdout])
    for place, (value, is_forget) in enumerate(ranked):
        hits, alarms = hits + is_forget, alarms + (not is_forget)
        if place + 1 == len(ranked) or ranked[place + 1][0] != value:  # ties move together
            found.append((alarms / len(holdout), hits / len(forget)))
    return found


def area(points: Curve) -> float:
    """Return the area under a curve by trapezoids.

    >>> area([(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
    1.0
    """
    steps = itertools.pairwise(points)
    return sum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in steps)
