"""Membership: can the loss tell the forget set from text that was never trained on?

Four scores of one pass, higher for members: the loss (Yeom et al. 2018, arXiv:1709.01604), the
loss per compressed byte (Carlini et al. 2021, arXiv:2012.07805), min-k (Shi et al. 2023,
arXiv:2310.16789) and min-k++ (Zhang et al. 2024, arXiv:2404.02936).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forgetkit.evaluate.groups import Groups, Rows, Value
from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL, Sample
from forgetkit.results import Estimate, Metric

if TYPE_CHECKING:
    from forgetkit.evaluate.groups import Picks

SHARE = 0.4
"""Share of the least likely tokens that min-k and min-k++ look at (Shi 2023: 20 to 40 %)."""
FALSE_POSITIVES = 0.01
_Z = 1.959964


def loss_score(sample: Sample) -> float | None:
    """Return minus the loss per token."""
    return None if sample.nll is None else -sample.nll


def zlib_score(sample: Sample) -> float | None:
    """Return minus the loss per token by the size of the compressed answer in bytes."""
    if sample.nll is None:
        return None
    return -sample.nll / len(zlib.compress(sample.example.answer.encode("utf-8", "surrogatepass")))


def min_k_score(sample: Sample) -> float | None:
    """Return the mean log-probability of the least likely tokens."""
    return least_mean(sample.log_probability)


def min_k_plus_score(sample: Sample) -> float | None:
    """Return the mean of the least standardised log-probabilities; None where not measured."""
    if not sample.deviation:
        return None
    columns = zip(sample.log_probability, sample.mean, sample.deviation, strict=True)
    return least_mean([(value - mean) / max(spread, 1e-6) for value, mean, spread in columns])


def least_mean(values: Sequence[float]) -> float | None:
    """Return the mean of the least `SHARE` of the values, at least one of them.

    >>> least_mean([-1.0, -2.0, -3.0, -4.0, -5.0])
    -4.5
    """
    if not values:
        return None
    count = max(1, int(len(values) * SHARE))
    return sum(sorted(values)[:count]) / count


SCORES: tuple[tuple[str, Value], ...] = (
    ("membership_loss", loss_score),
    ("membership_zlib", zlib_score),
    ("membership_min_k", min_k_score),
    ("membership_min_k_plus", min_k_plus_score),
)


def membership(groups: Groups) -> list[Metric]:
    """Return the area of each score, how near the worst is to .5, and the share found at 1 %."""
    areas = {
        role: {name: _area(groups, role, value) for name, value in SCORES}
        for role in (BEFORE, AFTER, RETAIN_MODEL)
    }
    where = "forget, holdout"
    found = [
        groups.by_role(name, where, "none", lambda role, name=name: areas[role][name])  # type: ignore[misc]
        for name, _ in SCORES
    ]

    def leakage(role: str) -> Estimate:
        found, retain = (areas[r]["membership_min_k"] for r in (role, RETAIN_MODEL))
        return _leakage(groups, role, found, retain)

    return [
        *found,
        groups.by_role(
            "membership_closeness",
            where,
            "higher",
            lambda role: closeness(list(areas[role].values())),
        ),
        groups.by_role("membership_tpr", where, "none", lambda role: _share_found(groups, role)),
        groups.by_role("privacy_leakage", where, "none", leakage),
    ]


def _values(groups: Groups, role: str, split: str, value: Value) -> list[float]:
    rows: Rows = groups.rows.get((role, split), ())
    return [v for s in rows if (v := value(s)) is not None]


def _area(groups: Groups, role: str, value: Value) -> Estimate:
    members = _values(groups, role, "forget", value)
    others = _values(groups, role, "holdout", value)
    missing = _too_few(groups, role, len(members), len(others))
    return missing or area(members, others)


def _too_few(groups: Groups, role: str, members: int, others: int) -> Estimate | None:
    if (role, "forget") not in groups.rows:
        why = "no retain model was given" if role == RETAIN_MODEL else "not measured"
        return Estimate(None, reason=why)
    least, fewer = groups.config.least_membership, min(members, others)
    if fewer < least:
        return Estimate(None, fewer, reason=f"fewer than {least} a side")
    return None


def area(members: Sequence[float], others: Sequence[float]) -> Estimate:
    """Return the area under the ROC curve with its interval; higher scores mean member.

    The interval is Newcombe's (2006, method 5), which does not shrink to a point at 0 or 1.

    >>> area([3.0, 2.0], [1.0, 2.0]).value
    0.875
    """
    first, second = len(members), len(others)
    value = _area_under(members, others)
    low, high = newcombe(value, first, second)
    return Estimate(value, min(first, second), low, high)


def _area_under(members: Sequence[float], others: Sequence[float]) -> float:
    from scipy.stats import rankdata

    first, second = len(members), len(others)
    ranks = rankdata([*members, *others])
    return float((ranks[:first].sum() - first * (first + 1) / 2) / (first * second))


def newcombe(value: float, first: int, second: int) -> tuple[float, float]:
    """Return the 95 % interval of an area: the ends where it is 1.96 deviations away."""
    from scipy.optimize import brentq

    half = (first + second) / 2 - 1

    def beyond(truth: float) -> float:
        shape = 1 + half * ((1 - truth) / (2 - truth) + truth / (1 + truth))
        variance = truth * (1 - truth) * shape / (first * second)
        return (value - truth) ** 2 - _Z * _Z * variance

    least = 1e-9  # at the value itself the difference is 0 too
    low = float(brentq(beyond, 0.0, value - least)) if value > least else 0.0
    high = float(brentq(beyond, value + least, 1.0)) if value < 1 - least else 1.0
    return low, high


def closeness(areas: Sequence[Estimate]) -> Estimate:
    """Return 1 - 2 |area - .5| of the score that tells most; 1 when none tells anything."""
    known = [e for e in areas if e.value is not None]
    if not known:
        return areas[0]
    worst = max(known, key=lambda e: abs((e.value or 0.0) - 0.5))
    low, high = worst.low or 0.0, worst.high or 0.0

    def near(end: float) -> float:
        return 1 - 2 * abs(end - 0.5)

    best = 1.0 if low <= 0.5 <= high else max(near(low), near(high))
    return Estimate(near(worst.value or 0.0), worst.n, min(near(low), near(high)), best)


def share_found(members: Sequence[float], others: Sequence[float]) -> float:
    """Return the share of members above all but 1 % of the others.

    >>> share_found([3.0, 0.5], [1.0, 2.0])
    0.5
    """
    allowed = math.floor(FALSE_POSITIVES * len(others))
    limit = sorted(others, reverse=True)[allowed]
    return sum(value > limit for value in members) / len(members)


def _share_found(groups: Groups, role: str) -> Estimate:
    members = _values(groups, role, "forget", loss_score)
    others = _values(groups, role, "holdout", loss_score)
    missing = _too_few(groups, role, len(members), len(others))
    if missing:
        return missing
    from forgetkit.intervals import wilson

    share = share_found(members, others)
    return Estimate(share, len(members), *wilson(share * len(members), len(members)))


def _leakage(groups: Groups, role: str, found: Estimate, retain: Estimate) -> Estimate:
    """Return MUSE's privacy leakage in per cent (Shi et al. 2024, arXiv:2407.06460).

    (A - A of the retain model) / A of the retain model, A the chance that holdout has the higher
    min-k probability; below 0: not forgotten enough, above 0: forgotten too visibly. The interval
    draws the same rows for both models; of the retain model, which is 0 by definition, it is left
    out.
    """
    if retain.value is None or found.value is None:
        return Estimate(None, found.n, reason=retain.reason or found.reason)
    usual = 1 - retain.value
    if usual == 0:
        return Estimate(None, found.n, reason="the retain model ranks all forget rows first")
    value = 100 * ((1 - found.value) - usual) / usual
    own, others = (
        [_values(groups, r, split, min_k_score) for split in ("forget", "holdout")]
        for r in (role, RETAIN_MODEL)
    )
    counts = [len(column) for column in own]
    if role == RETAIN_MODEL or counts != [len(column) for column in others]:
        return Estimate(value, found.n)

    def leakage(picks: Picks) -> float:
        after, retained = (
            1
            - _area_under(*([column[i] for i in p] for column, p in zip(side, picks, strict=True)))
            for side in (own, others)
        )
        return 100 * (after - retained) / max(retained, 1e-9)

    return Estimate(value, found.n, *groups.resampled("privacy leakage", counts, leakage))
