"""Relearning: train on part A of the forget set, and see how much of part B comes back.

Lynch et al. 2024 (arXiv:2402.16835); Deeb & Roger 2024 (arXiv:2410.08827). The control is trained
the same way: the retain model on the same parts, or, without one, the unlearned model on two parts
of the holdout; as many rows, in the same batches and epochs. What B gains there is style, not
memory.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forgetkit.evaluate.attacks.report import AttackReport, Context, Row, point, worst_first
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.forget_set import Example
from forgetkit.results import Estimate, Metric, mean
from forgetkit.seeds import derive, generator

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.score import Score
    from forgetkit.lm.step import Item, Step

_LEAST = 4  # rows of a part


def relearn(context: Context) -> AttackReport:
    """Fine-tune the unlearned model, and a control, on part A; measure part B."""
    first, second = halves(context.rows("forget"), context.config.seed)
    if context.retain_model is not None:
        control, other = context.retain_model, (first, second)
    else:
        control, other = context.after, halves(context.rows("holdout"), context.config.seed)
    if min(len(first), len(second), *map(len, other)) < _LEAST:
        return AttackReport("relearn", reason=f"fewer than {_LEAST} rows in a part")
    config = context.config
    count = min(len(first), len(other[0]))
    first, other = _some(first, count, config), (_some(other[0], count, config), other[1])
    context.progress.stage("relearn: the unlearned model", config.relearn_steps)
    rows, curve = _train(context, context.after, first, second, "forget")
    context.progress.stage("relearn: the control", config.relearn_steps)
    beside, usual = _train(context, control, *other, "control")
    return AttackReport(
        "relearn",
        worst_first([*rows, *beside]),
        {"unlearned": curve, "control": usual},
        "training step",
        "exact memorisation of part B",
        {
            "steps": config.relearn_steps,
            "learning_rate": config.relearn_rate,
            "control": "retain model" if context.retain_model else "holdout",
            "rows_a": len(first),
            "rows_b": len(second),
        },
    )


def halves(rows: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """Split rows into two parts: as the set says, else by group, else every other row."""
    if {row.part for row in rows} == {"A", "B"}:
        return [r for r in rows if r.part == "A"], [r for r in rows if r.part == "B"]
    groups = sorted({row.group or row.example_id for row in rows})
    if len(groups) < 2:
        return list(rows[::2]), list(rows[1::2])
    order = generator(seed, "relearn").permutation(len(groups))
    chosen = {groups[int(place)] for place in order[: len(groups) // 2]}
    first = [row for row in rows if (row.group or row.example_id) in chosen]
    return first, [row for row in rows if (row.group or row.example_id) not in chosen]


def _some(rows: Sequence[Example], count: int, config: EvaluateConfig) -> list[Example]:
    """Draw so many of the rows, in their order."""
    picks = generator(config.seed, "relearn rows").permutation(len(rows))[:count]
    return [rows[place] for place in sorted(int(p) for p in picks)]


def _train(
    context: Context,
    open_model: Callable[[], LanguageModel],
    first: Sequence[Example],
    second: Sequence[Example],
    split: str,
) -> tuple[list[Row], list[list[float | None]]]:
    from forgetkit.lm.adapter import add_lora
    from forgetkit.lm.train import Look, TrainSettings, train

    config = context.config
    seed = derive(config.seed, "relearn") % 2**32
    model = add_lora(open_model(), rank=16, alpha=32, dropout=0.0, seed=seed)
    looks: list[list[Score]] = []
    curve: list[list[float | None]] = []

    def look(step: int) -> Look:
        looks.append(_scores(model, second, config))
        found = mean([_kept(s) for s in looks[-1]], config.seed, config.bootstrap)
        curve.append(point(step, found))
        return Look({}, -float(step))

    batch = min(8, len(first))
    settings = TrainSettings(
        config.relearn_rate, batch, watch_every=max(1, config.relearn_steps // 4), seed=seed
    )
    with tempfile.TemporaryDirectory(prefix="forgetkit-") as scratch:
        train(
            model,
            _items(model, first, batch * config.relearn_steps, config),
            cross_entropy,
            settings,
            watch=look,
            advance=lambda _: context.progress.advance(),
            scratch=Path(scratch),
        )
    return [
        _row(e, split, *ends) for e, *ends in zip(second, looks[0], looks[-1], strict=True)
    ], curve


def cross_entropy(step: Step) -> dict[str, torch.Tensor]:
    """Return the mean cross-entropy of an answer token, averaged over the examples."""
    nll, length = step.nll("relearn")
    return {"relearn": (nll / length.clamp_min(1)).mean()}


def _items(
    model: LanguageModel, rows: Sequence[Example], count: int, config: EvaluateConfig
) -> list[Item]:
    from forgetkit.lm.encode import encode

    encoded = [encode(model.tokenizer, row, max_tokens=config.max_tokens) for row in rows]
    rng = generator(config.seed, "relearn order")
    epochs = (rng.permutation(len(encoded)) for _ in itertools.count())
    places = itertools.islice(itertools.chain.from_iterable(epochs), count)
    return [{"relearn": [encoded[int(place)]]} for place in places]


def _scores(model: LanguageModel, rows: Sequence[Example], config: EvaluateConfig) -> list[Score]:
    from forgetkit.lm.score import score

    return score(model, rows, max_tokens=config.max_tokens)


def _kept(score: Score) -> float:
    from forgetkit.lm.score import exact_memorization

    return exact_memorization(score.argmax_hit) or 0.0


def _row(example: Example, split: str, before: Score, after: Score) -> Row:
    from forgetkit.lm.score import extraction_strength

    return {
        "example_id": example.example_id,
        "split": split,
        "recovered": _kept(after),
        "without": _kept(before),
        "es": extraction_strength(after.argmax_hit),
        "es_without": extraction_strength(before.argmax_hit),
    }


def measured(
    report: AttackReport, config: EvaluateConfig, known: Mapping[str, Metric]
) -> list[Metric]:
    """Return R = min(gain of the control / gain of the unlearned model, 1), 1 without a gain."""
    if report.reason:
        why = Estimate(None, reason=report.reason)
        return [Metric("attack_relearn", "forget", "higher", after=why)]

    def column(split: str, name: str) -> list[float]:
        return [float(row[name]) for row in report.rows if row["split"] == split]

    def of(split: str, name: str) -> Estimate:
        return mean(column(split, name), config.seed, config.bootstrap)

    gains, usual = (
        [a - b for a, b in zip(column(s, "recovered"), column(s, "without"), strict=True)]
        for s in ("forget", "control")
    )
    return [
        Metric("attack_relearn", "forget", "higher", after=robustness(gains, usual, config)),
        Metric(
            "attack_relearn_memorization",
            "forget",
            "none",
            of("forget", "without"),
            of("forget", "recovered"),
            of("control", "recovered"),
        ),
    ]


def robustness(gains: Sequence[float], usual: Sequence[float], config: EvaluateConfig) -> Estimate:
    """Return R with a seeded bootstrap interval over the rows of both.

    Worked value: mean gain .1 with the control and .2 of the unlearned model: .5.
    """
    import numpy as np

    rng = generator(config.seed, "relearn interval")
    drawn = [
        np.asarray(values)[rng.integers(0, len(values), (config.bootstrap, len(values)))].mean(1)
        for values in (gains, usual)
    ]
    values = [_ratio(float(g), float(u)) for g, u in zip(*drawn, strict=True)]
    low, high = np.quantile(values, [0.025, 0.975])
    whole = _ratio(sum(gains) / len(gains), sum(usual) / len(usual))
    return Estimate(whole, len(gains), float(low), float(high))


def _ratio(gain: float, usual: float) -> float:
    return 1.0 if gain <= 0 else max(0.0, min(usual / gain, 1.0))
