"""Look at a validation slice while training: forgetting, its control, and utility."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
TRIES = 4  # factors of an update that lost too much utility

UNTRAINED = 0.1
"""Exact memorisation below which a model knows no text: of text that it never saw, one that was
trained at all has a quarter right or more."""


@dataclass(frozen=True)
class Validation:
    """The rows that checkpoints are chosen by; retain rows here are never trained on.

    At most a quarter of retain is set apart, so that a small set keeps rows to train on.

    Attributes:
        forget: some forget examples.
        holdout: as many of the control.
        retain: ordinary rows.
    """

    forget: Sequence[Example]
    holdout: Sequence[Example]
    retain: Sequence[Example]

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
        )


def _every(examples: Sequence[Example], size: int) -> list[Example]:
    if len(examples) <= size:
        return list(examples)
    return [examples[i * len(examples) // size] for i in range(size)]


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
        self._model, self._slice, self._config = language_model, validation, config
        self._factor = factor  # of the update, in the model that will be kept
        self._clock = clock or Clock()
        self._last = (0, 1.0)  # step and utility of the last look
        with self._clock.phase("looks"):
            self._before = self._measure(validation.retain)[2]

    def __call__(self, step: int) -> Look:
        """Return what the slice says after a step."""
        with self._clock.phase("looks"):
            return self._look(step)

    def shrink(self, step: int) -> tuple[float, Look] | None:
        """Multiply an update that broke the utility floor by what keeps it, and look again.

        Between the model before and the trained one, utility falls steadily (Wortsman et al. 2022,
        arXiv:2109.01903, take means of weights likewise). Of `TRIES` factors below 1 the largest
        that keeps the floor is taken.

        Returns:
            The factor and the look; None where the floor holds, where no factor keeps it, or the
            update is no product that can be multiplied. Then the weights stay.
        """
        from forgetkit.lm.adapter import can_multiply, multiply_adapter

        floor = self._config.utility_floor
        with self._clock.phase("looks"):
            utility = self._last[1] if self._last[0] == step else self._utility(1.0)
            if not floor or not 0 < utility < floor or not can_multiply(self._model.model):
                return None
            keeps, breaks = 0.0, 1.0
            factor = math.log(floor) / math.log(utility)
            for _ in range(TRIES):
                if self._utility(factor) >= floor:
                    keeps = factor
                else:
                    breaks = factor
                factor = (keeps + breaks) / 2
            if not keeps:
                return None
            multiply_adapter(self._model.model, keeps)
            return keeps, self._look(step)

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
        self._last = (step, utility)
        kept = utility >= self._config.utility_floor
        distance = max(es, em - control_em)
        at_control = es <= control_es + 0.02 and em <= control_em + 0.02
        if not self._slice.controls():  # then only a model that is no language model yet
            at_control = step == 0 and es <= 0.02 and em <= UNTRAINED
        done = kept and at_control
        diverged = utility < min(DIVERGED, self._config.utility_floor)
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

    def _measure(self, examples: Sequence[Example]) -> tuple[float, float, float]:
        from forgetkit.lm.score import exact_memorization, extraction_strength, score

        scores = [s for s in score(self._model, examples) if s.argmax_hit]
        if not scores:
            return 0.0, 0.0, 0.0
        es = sum(extraction_strength(s.argmax_hit) or 0.0 for s in scores) / len(scores)
        em = sum(exact_memorization(s.argmax_hit) or 0.0 for s in scores) / len(scores)
        return es, em, sum(s.nll for s in scores) / len(scores)
