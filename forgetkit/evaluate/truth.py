"""TOFU's numbers: truth ratio, forget quality, model utility (Maini et al. 2024, arXiv:2401.06121).

They need other answers to the same prompts: the split `others`. The mean over the wrong answers
is one of logarithms, as in the paper's code; its text has the arithmetic mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgetkit.evaluate.groups import Groups
from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL, Sample
from forgetkit.results import Estimate, Metric, mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from forgetkit.evaluate.groups import Picks

NO_OTHERS = "the set has no other answers (probe others) for these prompts"
UTILITY_GROUPS = ("retain", "real_authors", "world_facts")
_LEAST = 20  # rows of a test


@dataclass(frozen=True)
class Known:
    """A row with the loss of its right answer and of the wrong ones, nats a token."""

    sample: Sample
    right: float
    wrong: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Return how likely a wrong answer is against the right one: 0 when it is known."""
        return math.exp(min(self.right - sum(self.wrong) / len(self.wrong), 700.0))


def truth(groups: Groups) -> list[Metric]:
    """Return truth ratio, forget quality and model utility."""
    roles = (BEFORE, AFTER, RETAIN_MODEL)
    ratios = {role: [k.ratio for k in known(groups, role, "forget")] for role in roles}
    return [
        groups.by_role("truth_ratio", "forget", "none", lambda r: _ratio(groups, ratios[r])),
        Metric(
            "forget_quality",
            "forget",
            "higher",
            _quality(ratios[BEFORE], ratios[RETAIN_MODEL], groups),
            _quality(ratios[AFTER], ratios[RETAIN_MODEL], groups),
        ),
        groups.by_role("model_utility", "retain", "higher", lambda r: _model_utility(groups, r)),
    ]


def known(groups: Groups, role: str, split: str) -> list[Known]:
    """Return the rows that have wrong answers beside the right one.

    The right one is the paraphrase where there is one, else the row's own answer.
    """
    right: dict[str, float] = {}
    wrong: dict[str, list[float]] = {}
    for other in groups.rows.get((role, "others"), ()):
        if other.nll is None:
            continue
        if other.example.variant == "paraphrase":
            right[other.example.pair_of] = other.nll
        elif other.example.variant == "perturbed":
            wrong.setdefault(other.example.pair_of, []).append(other.nll)
    found = []
    for sample in groups.rows.get((role, split), ()):
        name = sample.example.example_id
        loss = right.get(name, sample.nll)
        if name in wrong and loss is not None:
            found.append(Known(sample, loss, tuple(wrong[name])))
    return found


def _ratio(groups: Groups, ratios: Sequence[float]) -> Estimate:
    """Return the mean of min(R, 1 / R): 1 when right and wrong are equally likely."""
    if not ratios:
        return Estimate(None, reason=NO_OTHERS)
    values = [min(r, 1 / r) if r else 0.0 for r in ratios]
    return mean(values, groups.config.seed, groups.config.bootstrap)


def _quality(ratios: Sequence[float], yardstick: Sequence[float], groups: Groups) -> Estimate:
    """Return the p-value of a Kolmogorov-Smirnov test against the retain model's ratios."""
    if not any(model == RETAIN_MODEL for model, _ in groups.rows):
        return Estimate(None, reason="no retain model was given")
    fewer = min(len(ratios), len(yardstick))
    if fewer < _LEAST:
        return Estimate(None, fewer, reason=NO_OTHERS if not fewer else f"fewer than {_LEAST} rows")
    from scipy.stats import ks_2samp

    return Estimate(float(ks_2samp(ratios, yardstick).pvalue), len(ratios))


def _model_utility(groups: Groups, role: str) -> Estimate:
    """Return the harmonic mean of probability, ROUGE-L recall and truth ratio of three groups."""
    rows = known(groups, role, "retain")
    parts: list[npt.NDArray[np.float64]] = []
    for name in UTILITY_GROUPS:
        chosen = [k for k in rows if _group(k.sample) == name and k.sample.rouge_recall is not None]
        if not chosen:
            why = f"no {name} rows with other answers and continuations"
            return Estimate(None, reason=why if rows else NO_OTHERS)
        parts.append(_three(chosen, with_choice=name != "retain"))

    def utility(picks: Picks) -> float:
        drawn = zip(parts, picks, strict=True)
        return harmonic([float(v) for part, places in drawn for v in part[places].mean(axis=0)])

    value = harmonic([float(v) for part in parts for v in part.mean(axis=0)])
    interval = groups.resampled("model utility", [len(part) for part in parts], utility)
    return Estimate(value, len(rows), *interval)


def _group(sample: Sample) -> str:
    named = (sample.example.variant, sample.example.group)
    return next((name for name in named if name in UTILITY_GROUPS), "retain")


def _three(rows: Sequence[Known], *, with_choice: bool) -> npt.NDArray[np.float64]:
    """Return probability, recall and truth of each row, shape (rows, 3)."""
    import numpy as np

    probability = [_choice(k) if with_choice else math.exp(-(k.sample.nll or 0.0)) for k in rows]
    recall = [k.sample.rouge_recall or 0.0 for k in rows]
    honest = [max(0.0, 1 - k.ratio) for k in rows]
    return np.column_stack([probability, recall, honest])


def _choice(row: Known) -> float:
    """Return the right answer's share of the likelihood of all answers."""
    own = math.exp(-(row.sample.nll or 0.0))
    return own / (own + sum(math.exp(-loss) for loss in row.wrong))


def harmonic(values: Sequence[float]) -> float:
    """Return the harmonic mean; 0 when any value is 0.

    >>> harmonic([1.0, 0.5])
    0.6666666666666666
    """
    return statistics.harmonic_mean(values) if min(values) > 0 else 0.0
