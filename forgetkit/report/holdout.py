"""Whether holdout is like forget: both distributions and the two-sample test, as `build` found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forgetkit.report.charts import Picture
from forgetkit.report.drawing import BEFORE, CONTROL, INK, canvas, plain, to_svg
from forgetkit.report.text import number
from forgetkit.results import Alike

_NAMES = {"words": "Length, in words", "surprise": "Surprise, in nats"}
_DOUBT, _SMALL = 0.05, 0.001


def compared(rows: Sequence[Alike]) -> list[Picture]:
    """Draw each number of forget above the same of holdout: least, quartiles, greatest.

    Args:
        rows: one of each number compared.
    """
    return [_drawn(place, row) for place, row in enumerate(rows)]


def _drawn(place: int, row: Alike) -> Picture:
    what = row.what
    title = plain(_NAMES.get(what, what))
    sides = (("forget", row.forget, BEFORE), ("holdout", row.holdout, CONTROL))
    with canvas(1.7) as (figure, axes):
        for side, (_, values, colour) in enumerate(sides):
            keys = ("whislo", "q1", "med", "q3", "whishi")
            box: dict[str, Any] = dict(zip(keys, values, strict=True)) | {"fliers": []}
            lines = {"color": colour, "linewidth": 1.6}
            axes.bxp(
                [box],
                positions=[1 - side],
                orientation="horizontal",
                widths=0.5,
                showfliers=False,
                boxprops=lines,
                whiskerprops=lines,
                capprops=lines,
                medianprops=lines | {"linewidth": 3.0},
            )
        axes.set_yticks([1, 0], [label for label, _, _ in sides])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(title)
        words = ". ".join(
            f"{label}: {', '.join(number(float(value)) for value in values)}"
            for label, values, _ in sides
        )
        svg = to_svg(figure, f"holdout-{place}", title, f"Least, quartiles, greatest. {words}.")
    distance, p_value = row.distance, row.p_value
    chance = "below .001" if p_value < _SMALL else number(p_value)
    alike = "no difference is shown" if p_value >= _DOUBT else "they differ: read with care"
    caption = (
        f"Least, quartiles and greatest. Kolmogorov-Smirnov distance {number(distance)}, "
        f"p {chance}: {alike}. Membership numbers compare the two."
    )
    return Picture(title, svg, caption)
