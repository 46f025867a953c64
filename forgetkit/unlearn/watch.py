"""Look at a validation slice while training: forgetting, its control, and utility."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from forgetkit.forget_set import Example, ForgetSet
from forgetkit.unlearn.clock import Clock
from forgetkit.unlearn.config import UnlearnConfig

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.train import Look

VALIDATION_ROWS = 24
DIVERGED = 0.1
"""Utility (retain perplexity before / after) below which going on is of no use."""
FEW_TRIES = 4  # by the floor: the first of them is near
TRIES = 6  # factors of an update that does more than it has to
ENOUGH = 0.03
"""Extraction strength and exact memorisation above the control that an update may leave: of the
default threshold's .05, with room for what the evaluation finds otherwise."""

UNTRAINED = 0.1
"""Exact memorisation below which a model knows no text: of text that it never saw, one that was
trained at all has a quarter right or more."""


@dataclass(frozen=True)
class Validation:
    """The rows that checkpoints are chosen by; retain rows here are never trained on.

    At most a quarter of retain is set apart, so that a small set keeps rows to train on.

    Attributes:
        forget: some forget examples.
        holdout: half as many of the control.
        retain: ordinary rows.
        more_forget: more of them, by which an update is multiplied.
        more_holdout: as many of the control.
    """

    forget: Sequence[Example]
    holdout: Sequence[Example]
    retain: Sequence[Example]
    more_forget: Sequence[Example]
    more_holdout: Sequence[Example]

    def controls(self) -> Sequence[Example]:
        """Return the rows that forget is compared with: none for pairs.

        The holdout of pairs is what the model itself says to other prompts, so it knows that too.
        """
        return self.holdout if self.forget[0].kind == "text" else ()

    @classmethod
    def of(cls, content: ForgetSet) -> Validation:
        """Take every so-many-th row of each split."""
        retain = content.splits["retain"]
        return cls(
            _every(content.splits["forget"], VALIDATION_ROWS),
            _every(content.splits["holdout"], VALIDATION_ROWS // 2),
            _every(retain, min(VALIDATION_ROWS, -(-len(retain) // 4))),
            _every(content.splits["forget"], 2 * VALIDATION_ROWS),
            _every(content.splits["holdout"], 2 * VALIDATION_ROWS),
        )


def _every(examples: Sequence[Example], size: int) -> list[Example]:
    if len(examples) <= size:
        return list(examples)
    return [examples[i * len(examples) // size] for i in range(size)]


@dataclass(frozen=True)
class _Last:
    """The last look: after which step, utility, and how far above the control forget was known."""

    step: int
    utility: float
    beyond: float


def _halved(
    factor: float,
    holds: Callable[[float], bool],
    tries: int,
    *,
    holds_at: float,
    fails_at: float,
) -> float:
    """Return the factor that holds nearest to one that fails, of some by halving."""
    for _ in range(tries):
        if holds(factor):
            holds_at = factor
        else:
            fails_at = factor
        factor = (holds_at + fails_at) / 2
    return holds_at


class Watch:
    """Look at the validation slice: forgetting, its control, and utility.

    What utility is compared with is measured at once, before anything is trained.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        validation: Validation,
        config: UnlearnConfig,
        factor: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        from forgetkit.lm.common import CommonLayers
        from forgetkit.lm.layers import frozen_below

        self._model, self._slice, self._config = language_model, validation, config
        self._factor = factor  # of the update, in the model that will be kept
        self._clock = clock or Clock()
        # The layers below the trained ones give each look the same.
        self._common = CommonLayers(partial(frozen_below, language_model.model), again=True)
        self._last = _Last(0, 1.0, 1.0)
        with self._clock.phase("looks"):
            self._before = self._measure(validation.retain)[2]

    def __call__(self, step: int) -> Look:
        """Return what the slice says after a step."""
        with self._clock.phase("looks"):
            return self._look(step)

    def shrink(self, step: int) -> tuple[float, Look] | None:
        """Multiply an update that does more than it has to by a factor below 1, and look again.

        Between the model before and the trained one, forgetting and utility change steadily
        (Wortsman et al. 2022, arXiv:2109.01903, take means of weights likewise). An update after
        which forget is known no better than its control is multiplied by the least of `TRIES`
        factors that leaves it so, if that keeps the utility floor. Any other that broke the floor
        is multiplied by the largest of them that keeps it.

        Returns:
            The factor and the look, `done` where forget is at its control; None where no factor
            does either, or the update is no product that can be multiplied. Then the weights stay.
        """
        from forgetkit.lm.adapter import can_multiply, multiply_adapter

        with self._clock.phase("looks"):
            if self._last.step != step:
                self._look(step)
            if self._diverged(self._last.utility) or not can_multiply(self._model.model):
                return None
            least = self._least() if self._last.beyond <= ENOUGH else 0.0
            enough = bool(least) and self._utility(least) >= self._config.utility_floor
            factor = least if enough else self._most(self._last.utility)
            if not factor:
                return None
            multiply_adapter(self._model.model, factor)
            return factor, replace(self._look(step), done=enough)

    def _least(self) -> float:
        """Return the least factor that leaves forget at its control; 0: it is not, or only by 1."""
        if not self._slice.controls() or not self._forgets(1.0):
            return 0.0
        least = _halved(0.75, self._forgets, TRIES, holds_at=1.0, fails_at=0.0)
        return least if least < 1 else 0.0

    def _most(self, utility: float) -> float:
        """Return the largest factor that keeps the floor; 0: it holds as it is, or none does."""
        floor = self._config.utility_floor
        if not floor or not 0 < utility < floor:
            return 0.0
        first = math.log(floor) / math.log(utility)
        holds = partial(self._keeps, floor)
        return _halved(first, holds, FEW_TRIES, holds_at=0.0, fails_at=1.0)

    def _forgets(self, factor: float) -> bool:
        """Say whether forget is at its control, by more rows than those of a look."""
        from forgetkit.lm.adapter import adapter_times

        with adapter_times(self._model.model, self._factor * factor):
            es, em, _ = self._measure(self._slice.more_forget)
            control_es, control_em, _ = self._measure(self._slice.more_holdout)
        return max(es - control_es, em - control_em) <= ENOUGH

    def _keeps(self, floor: float, factor: float) -> bool:
        return self._utility(factor) >= floor

    def _utility(self, factor: float) -> float:
        from forgetkit.lm.adapter import adapter_times

        with adapter_times(self._model.model, self._factor * factor):
            return math.exp(self._before - self._measure(self._slice.retain)[2])

    def _look(self, step: int) -> Look:
        from forgetkit.lm.adapter import adapter_times
        from forgetkit.lm.train import Look

        with adapter_times(self._model.model, self._factor):
            es, em, _ = self._measure(self._slice.forget)
            control_es, control_em, _ = self._measure(self._slice.controls())
            nll = self._measure(self._slice.retain)[2] if step else self._before
        utility = math.exp(self._before - nll)
        self._last = _Last(step, utility, max(es - control_es, em - control_em))
        kept = utility >= self._config.utility_floor
        distance = max(es, em - control_em)
        at_control = es <= control_es + 0.02 and em <= control_em + 0.02
        if not self._slice.controls():  # then only a model that is no language model yet
            at_control = step == 0 and es <= 0.02 and em <= UNTRAINED
        done = kept and at_control
        diverged = self._diverged(utility)
        values = {
            "extraction_strength": es,
            "exact_memorization": em,
            "control": control_em,
            "utility": utility,
        }
        reason = f"step {step}: forget is at its control" if done else ""
        if diverged:
            reason = f"step {step}: diverged, utility {utility:.2g} of before"
        rounded = {name: round(value, 4) for name, value in values.items()}
        return Look(rounded, distance if kept else math.inf, done or diverged, reason)

    def _diverged(self, utility: float) -> bool:
        return utility < min(DIVERGED, self._config.utility_floor)

    def _measure(self, examples: Sequence[Example]) -> tuple[float, float, float]:
        from forgetkit.lm.score import exact_memorization, extraction_strength, score

        scores = [s for s in score(self._model, examples, common=self._common) if s.argmax_hit]
        if not scores:
            return 0.0, 0.0, 0.0
        es = sum(extraction_strength(s.argmax_hit) or 0.0 for s in scores) / len(scores)
        em = sum(exact_memorization(s.argmax_hit) or 0.0 for s in scores) / len(scores)
        return es, em, sum(s.nll for s in scores) / len(scores)
