"""What a training must show before its weights are delivered, and what a person is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.unlearn.config import UnlearnConfig

if TYPE_CHECKING:
    from forgetkit.lm.train import Outcome
    from forgetkit.unlearn.watch import Validation

MERGE_MARGIN = 0.05
"""How much more of forget a merged model may recite than the adapter did; bfloat16 rounds."""


def check_known(done: bool, validation: Validation) -> None:
    """Check that the model knows something of the forget set before it is trained.

    Args:
        done: the look at step 0 says that forget is at its control.
        validation: the rows looked at.

    Raises:
        InputError: it is.
    """
    if not done:
        return
    if validation.controls():
        raise InputError(
            "there is nothing to unlearn: the model does no better on forget than on holdout",
            mend="Check that --model is the model that recites the text.",
        )
    raise InputError(
        "there is nothing to unlearn: the model knows none of the forget answers",
        mend="Check that --model is the model that gives them.",
    )


def check_best(outcome: Outcome, config: UnlearnConfig) -> None:
    """Check that a look found a checkpoint that forgot something and keeps utility.

    Raises:
        InputError: none did, with what to change.
    """
    if outcome.best_step or not config.watch_every:
        return
    looks = _looks(outcome)
    seen = [row["utility"] for row in looks[1:]]
    if min(seen) >= config.utility_floor:
        raise InputError(
            f"nothing was forgotten in {outcome.steps} steps",
            found=f"exact memorization {looks[0]['exact_memorization']:.3f} before, "
            f"{min(row['exact_memorization'] for row in looks[1:]):.3f} after, "
            f"utility {min(seen):.3f} to {max(seen):.3f}",
            mend="Raise --learning-rate or --steps.",
        )
    raise InputError(
        f"no checkpoint forgot anything while keeping utility at {config.utility_floor} of before",
        found=f"utility {min(seen):.3f} to {max(seen):.3f}; {outcome.stopped}".rstrip("; "),
        mend="Lower --learning-rate, raise retain_nll or retain_kl, or lower --utility-floor.",
    )


def check_last(outcome: Outcome, config: UnlearnConfig) -> list[str]:
    """Check the last weights, where they are taken on purpose (`watch_every` is 0).

    Returns:
        Warnings: nothing was forgotten, or utility is below a floor that nobody asked for.

    Raises:
        InputError: utility is below the floor that was asked for.
    """
    if config.watch_every:
        return []
    first, *_, last = _looks(outcome)
    utility, warnings = last["utility"], []
    if not utility >= config.utility_floor:
        what = f"the last weights keep {utility:.2g} of utility, and the floor is "
        if "utility_floor" in config.model_fields_set:
            raise InputError(
                f"{what}{config.utility_floor:g}",
                found="no look before the last step",
                mend="Lower --learning-rate or --steps, or give watch_every, so that an earlier "
                "checkpoint can be kept.",
            )
        warnings.append(f"{what}{config.utility_floor:g} where another is not given")
    if _distance(last) >= _distance(first):
        warnings.append("nothing was forgotten: raise the learning rate or the steps")
    return warnings


def merged_recites_more(outcome: Outcome, merged: Mapping[str, Any]) -> list[str]:
    """Return a warning where the merged model recites more of forget than the adapter did.

    Args:
        outcome: of the training; the look at the best step is that of the adapter.
        merged: what the validation slice says of the merged model.
    """
    through = [row for row in _looks(outcome) if row["step"] == outcome.best_step][-1]
    return [
        f"the merged model recites more than the adapter: {name.replace('_', ' ')} "
        f"{merged[name]:.2f}, before merging {through[name]:.2f}. Load the base in float32 "
        "(--set dtype=float32), or raise the learning rate"
        for name in ("extraction_strength", "exact_memorization")
        if merged[name] > through[name] + MERGE_MARGIN
    ]


def _looks(outcome: Outcome) -> Sequence[Mapping[str, Any]]:
    return [row for row in outcome.history if "utility" in row]


def _distance(look: Mapping[str, Any]) -> float:
    value: float = max(look["extraction_strength"], look["exact_memorization"] - look["control"])
    return value
