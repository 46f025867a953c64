"""Which metrics a recipe's table can show, known before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from forgetkit.errors import UsageError, nearest
from forgetkit.evaluate import EvaluateConfig, giver_of, metrics_of
from forgetkit.forget_set import ForgetSet


def check_columns(
    columns: Sequence[str],
    config: EvaluateConfig,
    forget_set: ForgetSet | None = None,
    *,
    where: str,
) -> None:
    """Refuse a column that no evaluation with these settings has.

    Args:
        columns: metrics that the table shows.
        config: settings of the evaluation, with its attacks.
        forget_set: what is evaluated; without it, a column of any kind of set is taken.
        where: the recipe's size.

    Raises:
        UsageError: the message names the attack that is needed, or the closest metric.
    """
    known = metrics_of(config, forget_set)
    for column in columns:
        if column not in known:
            attack = giver_of(column, config)
            raise UsageError(
                f"no run has the column '{column}'",
                where=where,
                mend=f"Name {attack} in evaluate.attacks, or leave the column out."
                if attack
                else nearest(column, known),
            )
