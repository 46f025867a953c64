"""The examples one by one: their pictures, and the worst of them for the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgetkit.report.charts import Picture
from forgetkit.report.drawing import (
    AFTER,
    BEFORE,
    CONTROL,
    FAIL,
    INK,
    MARGINAL,
    MUTED,
    PASS,
    canvas,
    plain,
    to_svg,
)
from forgetkit.report.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pair = Mapping[str, Any]
WORST = 20
_DRAWN = 300  # examples in one picture
_BINS = 24
_LOSS_CAP = 12.0  # nats a token; chance over a vocabulary of 49,152 is 10.8
_OUTCOMES = (("comply", FAIL), ("derail", MARGINAL), ("refuse", PASS))
_TEXTS = (
    ("Prompt", "prompt"),
    ("True answer", "answer"),
    ("Before", "before"),
    ("After", "after"),
)


@dataclass(frozen=True)
class Passage:
    """One text of an example: shown, or only its length in code points."""

    title: str
    text: str | None
    length: int


@dataclass(frozen=True)
class Example:
    """One example for the worst-first table: its place, its numbers, its texts."""

    name: str
    scores: tuple[str, ...]
    passages: tuple[Passage, ...]


def worst(pairs: Sequence[Pair], *, include_text: bool) -> list[Example]:
    """Return the examples of the forget set that kept most, worst first, at most `WORST`."""
    asked = [p for p in pairs if not _is_control(p) and p.get("split") != "retain"]
    ranked = sorted(asked, key=_severity, reverse=True)
    return [_example(pair, include_text) for pair in ranked[:WORST]]


def _is_control(pair: Pair) -> bool:
    return str(pair.get("split", "")).startswith(("holdout", "control"))


def _value(pair: Pair, role: str, key: str) -> Any:
    return (pair.get(role) or {}).get(key)


def _severity(pair: Pair) -> tuple[float, ...]:
    label = {"comply": 2.0, "derail": 1.0}.get(str(_value(pair, "after", "label")), 0.0)
    leak, strength, kept = (float(_value(pair, "after", k) or 0.0) for k in ("leak", "es", "em"))
    return label, leak, max(strength, kept), strength


def _example(pair: Pair, include_text: bool) -> Example:
    texts = [
        (title, pair.get(key) if index < 2 else _value(pair, key, "completion"))
        for index, (title, key) in enumerate(_TEXTS)
    ]
    passages = tuple(
        Passage(title, str(text) if include_text else None, len(str(text)))
        for title, text in texts
        if text
    )
    name = " · ".join(str(pair[k]) for k in ("example_id", "split", "variant") if pair.get(k))
    return Example(name, _scores(pair), passages)


def _scores(pair: Pair) -> tuple[str, ...]:
    changes = []
    for title, key in (("ES", "es"), ("EM", "em"), ("leak", "leak"), ("answer", "label")):
        before, after = _value(pair, "before", key), _value(pair, "after", key)
        if before is not None or after is not None:
            changes.append(f"{title} {_word(before)} → {_word(after)}")
    return tuple(changes)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int | float) or value is None else str(value)


def slopes(pairs: Sequence[Pair]) -> Picture | None:
    """Draw exact memorisation of each forget example before and after, beside the control's."""
    forget = [
        (_value(p, "before", "em"), _value(p, "after", "em"))
        for p in pairs
        if p.get("split") == "forget"
    ]
    lines = [(b, a) for b, a in forget if b is not None and a is not None]
    control = [_value(p, "after", "em") for p in pairs if _is_control(p)]
    control = [value for value in control if value is not None]
    if not lines:
        return None
    title = "Exact memorisation, example by example"
    with canvas(3.3) as (figure, axes):
        for before, after in lines[:: max(1, len(lines) // _DRAWN)]:
            axes.plot([0, 1], [before, after], color=MUTED, lw=0.8, alpha=0.45)
            axes.plot([0], [before], "o", color=BEFORE, markersize=4.5, alpha=0.8)
            axes.plot([1], [after], "o", color=AFTER, markersize=4.5, alpha=0.8)
        for place, value in enumerate(control[:: max(1, len(control) // _DRAWN)]):
            aside = ((place * 7) % 11 - 5) / 40  # spread so that points do not hide each other
            axes.plot([2 + aside], [value], "o", color=CONTROL, markersize=4.5, alpha=0.8)
        axes.set_xticks([0, 1, 2], ["before", "after", "control"])
        axes.tick_params(axis="x", length=0, labelcolor=INK)
        axes.set_xlim(-0.25, 2.4)
        axes.set_ylim(-0.05, 1.08)
        axes.set_ylabel("Share of answer tokens predicted")
        words = (
            f"{len(lines)} forget examples: mean {number(_mean([b for b, _ in lines]))} before, "
            f"{number(_mean([a for _, a in lines]))} after. {len(control)} control examples: mean "
            f"{number(_mean(control))}."
        )
        svg = to_svg(figure, "slopes", title, words)
    caption = "Each line is one example. Lines that stay high are listed below, worst first."
    return Picture(title, svg, caption)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def losses(pairs: Sequence[Pair]) -> Picture | None:
    """Draw how the loss of the true answers is spread: forget before and after, control."""
    asked = [p for p in pairs if p.get("split") == "forget"]
    spread = {
        "before": (_losses(asked, "before"), BEFORE),
        "after": (_losses(asked, "after"), AFTER),
        "control": (_losses([p for p in pairs if _is_control(p)], "after"), CONTROL),
    }
    if not spread["before"][0] or not spread["after"][0]:
        return None
    top = min(_LOSS_CAP, max(max(values, default=0.0) for values, _ in spread.values()))
    edges = [top * place / _BINS for place in range(_BINS + 1)] if top else [0.0, 1.0]
    title = "Loss of the true answers"
    with canvas(3.3) as (figure, axes):
        for role, (values, colour) in spread.items():
            if values:
                weights = [1 / len(values)] * len(values)
                shown = [min(value, edges[-1]) for value in values]
                axes.hist(
                    shown,
                    bins=edges,
                    weights=weights,
                    histtype="stepfilled",
                    color=colour,
                    alpha=0.65,
                    label=role,
                )
        axes.set_xlabel("Mean negative log-likelihood (nats a token)")
        axes.set_ylabel("Share of examples")
        figure.legend(loc="outside upper left", ncols=3, labelcolor=INK, fontsize=9)
        means = [f"{role}: mean {number(_mean(values))}" for role, (values, _) in spread.items()]
        svg = to_svg(figure, "losses", title, f"{'; '.join(means)}.")
    caption = (
        "After far to the right of the control would be over-unlearning, which can be detected."
    )
    return Picture(title, svg, caption)


def _losses(pairs: Sequence[Pair], role: str) -> list[float]:
    return [v for v in (_value(pair, role, "nll") for pair in pairs) if v is not None]


def outcomes(pairs: Sequence[Pair]) -> Picture | None:
    """Draw the shares of complying, derailed and refusing answers, before and after, by split."""
    judged = [p for p in pairs if _value(p, "after", "label") is not None]
    splits = sorted({str(p.get("split")) for p in judged})
    bars = [
        (plain(f"{split}, {role}"), _labels(judged, split, role))
        for split in splits
        for role in ("before", "after")
    ]
    if not bars:
        return None
    title = "What the model answered"
    with canvas(0.9 + 0.42 * len(bars)) as (figure, axes):
        for row, (_, counts) in enumerate(bars):
            _stack(axes, row, counts)
        axes.set_yticks(range(len(bars)), [name for name, _ in bars])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel("Share of answers")
        figure.legend(loc="outside upper left", ncols=3, labelcolor=INK, fontsize=9)
        words = " ".join(
            f"{name}: " + ", ".join(f"{counts[label]} {label}" for label, _ in _OUTCOMES) + "."
            for name, counts in bars
        )
        svg = to_svg(figure, "outcomes", title, words)
    caption = "Derailed answers are neither help nor refusal; they count as damage, not as success."
    return Picture(title, svg, caption)


def _labels(pairs: Sequence[Pair], split: str, role: str) -> Counter[str]:
    return Counter(str(_value(p, role, "label")) for p in pairs if str(p.get("split")) == split)


def _stack(axes: Axes, row: int, counts: Counter[str]) -> None:
    left, total = 0.0, sum(counts[label] for label, _ in _OUTCOMES)
    for label, colour in _OUTCOMES:
        width = counts[label] / total if total else 0.0
        name = label if row == 0 else None
        axes.barh(row, width, left=left, height=0.6, color=colour, label=name)
        left += width
