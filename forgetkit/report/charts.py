"""The pictures of the report that show aggregates: trade-off, bars, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgetkit.report.drawing import (
    AFTER,
    BEFORE,
    CONTROL,
    GRID,
    INK,
    MUTED,
    canvas,
    plain,
    to_svg,
)
from forgetkit.report.text import metric_label, number
from forgetkit.results import Estimate, Metric, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 400  # of one curve: enough for any screen, and the page stays small
_CYCLE = ((INK, "-"), (BEFORE, "-"), (AFTER, "-"), (CONTROL, "--"), (MUTED, ":"))


@dataclass(frozen=True)
class Picture:
    """A chart with its heading, the SVG element and one sentence on how to read it."""

    title: str
    svg: str
    caption: str


def tradeoff(results: Results, name: str) -> Picture | None:
    """Draw forgetting against utility: an arrow from before to after, the control as a line.

    Returns None when the metric or the utility was not measured.
    """
    found = {metric.name: metric for metric in results.metrics}
    if name not in found or "utility" not in found:
        return None
    metric, utility = found[name], found["utility"].after.value
    before, after = metric.before.value, metric.after.value
    if before is None or after is None or utility is None:
        return None
    label = metric_label(name)
    title = f"{label} against utility"
    with canvas(3.3) as (figure, axes):
        _arrow(axes, (1.0, before), (utility, after))
        _levels(axes, metric.control.value, utility)
        axes.set_xlabel("Utility, share of before (higher is better)")
        axes.set_ylabel(f"{label} (lower is better)")
        words = (
            f"Before: utility 1, {label} {number(before)}. After: utility {number(utility)}, "
            f"{label} {number(after)}. Control: {number(metric.control.value)}."
        )
        svg = to_svg(figure, f"tradeoff-{plain(name)}", title, words)
    caption = "The aim is straight down to the control line, without drifting left."
    return Picture(title, svg, caption)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={"arrowstyle": "-|>", "color": MUTED, "lw": 1.3, "shrinkA": 6, "shrinkB": 6},
    )
    for (x, y), colour, word in ((start, BEFORE, "before"), (end, AFTER, "after")):
        axes.plot([x], [y], "o", color=colour, markersize=9)
        side = -1 if x > 0.5 * (start[0] + end[0]) or (x == end[0] == start[0]) else 1
        axes.annotate(
            f"{word} {number(y)}",
            xy=(x, y),
            xytext=(9 * side, 4),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            color=colour,
        )


def _levels(axes: Axes, control: float | None, utility: float) -> None:
    left, right = min(0.85, utility - 0.08), max(1.05, utility + 0.05)
    axes.set_xlim(left, right)
    axes.set_ylim(-0.05, 1.08)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter("{x:.2f}")
    if control is not None:
        axes.axhline(control, color=CONTROL, lw=1.2, ls="--", zorder=0)
        axes.annotate(
            f"control {number(control)}",
            xy=(left, control),
            xytext=(4, 4),
            textcoords="offset points",
            color=CONTROL,
        )
    axes.axvline(1.0, color=GRID, lw=1.0, zorder=0)


_LEAKS = ("leak_rate", "harmful_rate", "leak_at_k", "attack_prompts_leak", "hallucination_rate")
_ELSEWHERE = ("attack_", "muse_", "probability")


def leaks(results: Results) -> Picture | None:
    """Draw what the model gave away under each kind of probe, with 95 % intervals."""
    shares = [m for m in results.metrics if m.name.startswith(_LEAKS) and _is_share(m)]
    title = "What it gives away, by kind of probe"
    return _bars("leaks", title, shares)


def bars(results: Results) -> Picture | None:
    """Draw before, after and control of every other share, with 95 % intervals where known."""
    apart = (*_LEAKS, *_ELSEWHERE)
    shares = [m for m in results.metrics if not m.name.startswith(apart) and _is_share(m)]
    return _bars("bars", "Before, after and control", shares)


def _bars(name: str, title: str, shares: Sequence[Metric]) -> Picture | None:
    if not shares:
        return None
    with canvas(1.0 + 0.78 * len(shares)) as (figure, axes):
        for row, metric in enumerate(shares):
            _bar_group(axes, row, metric)
        axes.set_yticks(range(len(shares)), [plain(metric_label(m.name)) for m in shares])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_xlim(0, 1.12)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_ylim(len(shares) - 0.45, -0.55)
        axes.set_xlabel("Share (0 to 1), whiskers: 95 % interval")
        axes.spines["left"].set_visible(False)
        _key(figure)
        words = " ".join(
            f"{metric_label(m.name)}: before {number(m.before.value)}, after "
            f"{number(m.after.value)}, control {number(m.control.value)}."
            for m in shares
        )
        svg = to_svg(figure, name, title, words)
    caption = "Lower is better. Where there is a control, after should come down to it."
    return Picture(title, svg, caption)


def _key(figure: Figure) -> None:
    from matplotlib.patches import Patch

    roles = (("before", BEFORE), ("after", AFTER), ("control", CONTROL))
    patches = [Patch(color=colour, label=role) for role, colour in roles]
    figure.legend(handles=patches, loc="outside upper left", ncols=3, labelcolor=INK, fontsize=9)


def _is_share(metric: Metric) -> bool:
    values = [e.value for e in (metric.before, metric.after, metric.control) if e.value is not None]
    return metric.better == "lower" and bool(values) and all(0 <= v <= 1 for v in values)


def _bar_group(axes: Axes, row: int, metric: Metric) -> None:
    shown = ((metric.before, BEFORE), (metric.after, AFTER), (metric.control, CONTROL))
    for place, (estimate, colour) in enumerate(shown):
        if estimate.value is None:
            continue
        y = row + (place - 1) * 0.24
        axes.barh(y, estimate.value, height=0.19, color=colour)
        end = _whisker(axes, y, estimate)
        axes.annotate(
            number(estimate.value),
            xy=(end, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=MUTED,
        )


def _whisker(axes: Axes, y: float, estimate: Estimate) -> float:
    value = estimate.value or 0.0
    if estimate.low is None or estimate.high is None:
        return value
    axes.plot([estimate.low, estimate.high], [y, y], color=INK, lw=1.2)
    return max(value, estimate.high)


def training(history: Sequence[Mapping[str, Any]], best_step: int | None) -> list[Picture]:
    """Draw the training curves: what was measured on the way, and the losses."""
    step = max(1, -(-len(history) // _POINTS))
    rows = list(history)[::step]
    measured = {
        "extraction strength": _series(rows, "extraction_strength"),
        "exact memorisation": _series(rows, "exact_memorization"),
        "utility": _series(rows, "utility"),
        "complying answers": _series(rows, "harmful_rate"),
    }
    names = sorted({name for row in rows for name in row.get("losses") or {}})
    flat = [{"step": row["step"], **(row.get("losses") or {})} for row in rows]
    losses = {name: _series(flat, name) for name in names}
    drawn = (
        _curves("measured", "During training: what was measured", "Value", measured, best_step),
        _curves("losses", "During training: losses", "Loss (nats a token)", losses, best_step),
    )
    return [picture for picture in drawn if picture]


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    return [(int(row["step"]), row[key]) for row in rows if row.get(key) is not None]


def _curves(
    name: str,
    title: str,
    unit: str,
    series: Mapping[str, list[tuple[int, float]]],
    best_step: int | None,
) -> Picture | None:
    present = {key: points for key, points in series.items() if points}
    if not present:
        return None
    with canvas(3.0) as (figure, axes):
        for place, (key, points) in enumerate(present.items()):
            colour, line = _CYCLE[place % len(_CYCLE)]
            axes.plot(*zip(*points, strict=True), color=colour, ls=line, lw=1.6, label=plain(key))
        if best_step is not None:
            axes.axvline(best_step, color=MUTED, lw=1.0, ls=":", zorder=0)
        axes.set_xlabel("Step")
        axes.set_ylabel(unit)
        figure.legend(loc="outside upper left", ncols=3, labelcolor=INK, fontsize=9)
        ends = " ".join(
            f"{k}: {number(p[0][1])} at step {p[0][0]}, {number(p[-1][1])} at step {p[-1][0]}."
            for k, p in present.items()
        )
        svg = to_svg(figure, f"curves-{name}", title, ends)
    kept = (
        "" if best_step is None else f"The dotted line marks the checkpoint kept: step {best_step}."
    )
    return Picture(title, svg, kept)
