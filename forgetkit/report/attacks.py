"""The attacks: a curve each, and what came back per span, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgetkit.report.charts import Picture
from forgetkit.report.drawing import AFTER, CONTROL, INK, canvas, plain, to_svg
from forgetkit.report.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORST = 10  # spans of an attack that the page shows
_TITLES = {
    "relearn": "Relearning: training on a part, measuring the rest",
    "quantize": "Quantisation: the weights in fewer bits",
    "prompts": "Prompts: other words, more and less of the text",
    "sampling": "Sampling: the worst of many answers",
    "detach": "The adapter detached",
}
_COLOURS = {"unlearned": (AFTER, "o-"), "control": (CONTROL, "s--")}
_BITS = "bits a weight"


@dataclass(frozen=True)
class AttackTable:
    """What one attack brought back.

    Attributes:
        title: of the attack, in words.
        reason: why there is no number; empty otherwise.
        settings: what it was run with, in words.
        rows: span, what came back, what came without the attack, and how.
        spans: how many spans were attacked.
    """

    title: str
    reason: str
    settings: str
    rows: tuple[tuple[str, str, str, str], ...]
    spans: int


def tables(attacks: Sequence[Mapping[str, Any]]) -> list[AttackTable]:
    """Return a table for each attack: the spans of the forget set, worst first."""
    return [_table(attack) for attack in attacks]


def _table(attack: Mapping[str, Any]) -> AttackTable:
    rows = [row for row in attack.get("rows") or () if row.get("split") == "forget"]
    settings = attack.get("settings") or {}
    shown = [f"{key.replace('_', ' ')} {_words(value)}" for key, value in settings.items()]
    return AttackTable(
        _title(attack),
        str(attack.get("reason") or ""),
        "; ".join(shown),
        tuple(
            (
                str(row.get("example_id", "")),
                number(row.get("recovered")),
                number(row.get("without")),
                _how(row),
            )
            for row in rows[:WORST]
        ),
        len(rows),
    )


def _title(attack: Mapping[str, Any]) -> str:
    name = str(attack.get("name", ""))
    return _TITLES.get(name, name)


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _how(row: Mapping[str, Any]) -> str:
    if row.get("wording"):
        return f"{row['wording']}; leaks under {row.get('leaks', 0)} wordings"
    forms = [f"{key} {number(row[key])}" for key in ("int8", "int4", "nf4") if key in row]
    if forms:
        return ", ".join(forms)
    return f"extraction strength {number(row['es'])}" if row.get("es") is not None else ""


def curves(attacks: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """Draw the curve of each attack that has one, with 95 % intervals."""
    return [picture for attack in attacks if (picture := _curve(attack))]


def _curve(attack: Mapping[str, Any]) -> Picture | None:
    series = {name: _points(rows) for name, rows in (attack.get("curve") or {}).items()}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return None
    title, axis = _title(attack), str(attack.get("axis") or "")
    with canvas(3.0) as (figure, axes):
        for name, points in series.items():
            _line(axes, name, points)
        if axis == _BITS:
            axes.invert_xaxis()
        axes.set_xticks(sorted({x for points in series.values() for x, *_ in points}))
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(plain(axis).capitalize())
        axes.set_ylabel(plain(str(attack.get("value") or "")).capitalize())
        figure.legend(loc="outside upper left", ncols=2, labelcolor=INK, fontsize=9)
        words = " ".join(
            f"{name}: " + ", ".join(f"{number(value)} at {x:g}" for x, value, *_ in points) + "."
            for name, points in series.items()
        )
        svg = to_svg(figure, f"attack-{plain(str(attack.get('name')))}", title, words)
    return Picture(title, svg, "Bars: 95 % intervals. Low, or no higher than the control, is good.")


def _points(rows: Sequence[Sequence[float | None]]) -> list[tuple[float, float, float, float]]:
    found = []
    for x, value, low, high in rows:
        if x is not None and value is not None:
            ends = (value if low is None else low, value if high is None else high)
            found.append((x, value, *ends))
    return found


def _line(axes: Axes, name: str, points: Sequence[tuple[float, float, float, float]]) -> None:
    colour, style = _COLOURS.get(name, (INK, "^:"))
    x, value, low, high = (list(column) for column in zip(*points, strict=True))
    below = [max(0.0, v - end) for v, end in zip(value, low, strict=True)]
    above = [max(0.0, end - v) for v, end in zip(value, high, strict=True)]
    axes.errorbar(
        x,
        value,
        yerr=[below, above],
        fmt=style,
        color=colour,
        lw=1.6,
        elinewidth=1.0,
        capsize=2.5,
        markersize=4.5,
        label=plain(name),
    )
