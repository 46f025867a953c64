"""Which metrics a recipe's table can show, known before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forgetkit.errors import UsageError, nearest
from forgetkit.evaluate.config import USUAL_RULES, EvaluateConfig
from forgetkit.evaluate.measure import splits_to_read
from forgetkit.evaluate.metrics import compute
from forgetkit.evaluate.sample import AFTER, Sample
from forgetkit.forget_set import Example, ForgetSet

_SPLITS = ("forget", "prompts", "holdout", "others", "retain", "general")
_OF_ATTACK = {
    "attack_relearn": "relearn",
    "attack_relearn_memorization": "relearn",
    "attack_quantize": "quantize",
    "attack_prompts": "prompts",
    "attack_prompts_leak": "prompts",
    "leak_at_k": "sampling",
    "attack_adapter_off": "detach",
}


def check_columns(
    columns: Sequence[str],
    attacks: Sequence[str],
    forget_set: ForgetSet | None = None,
    *,
    where: str,
) -> None:
    """Refuse a column that no evaluation with these attacks has.

    Args:
        columns: metrics that the table shows.
        attacks: those that the recipe's size runs.
        forget_set: what is evaluated; without it, a column of any kind of set is taken.
        where: the recipe's size.

    Raises:
        UsageError: the message names the attack that is needed, or the closest metric.
    """
    known = set(_names(forget_set))
    known |= {name for name, attack in _OF_ATTACK.items() if attack in attacks}
    for column in columns:
        if column in known:
            continue
        attack = _OF_ATTACK.get(column)
        raise UsageError(
            f"no run has the column '{column}'",
            where=where,
            mend=f"Name {attack} in evaluate.attacks, or leave the column out."
            if attack
            else nearest(column, known),
        )


def _names(forget_set: ForgetSet | None) -> Iterable[str]:
    """Yield the metrics of an evaluation: those of rows of which nothing was measured."""
    kinds = tuple(USUAL_RULES) if forget_set is None else (forget_set.kind,)
    splits = _SPLITS if forget_set is None else tuple(splits_to_read(forget_set))
    empty = Example("text", "prompt", "answer")
    for kind in kinds:
        rows = [Sample(AFTER, split, empty) for split in splits]
        yield from (metric.name for metric in compute(rows, kind, EvaluateConfig()))
