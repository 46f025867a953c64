"""Checks that refuse: splits that overlap, that are empty or too small, of another form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forgetkit.build.overlap import Encode, Limits, Overlap, overlaps
from forgetkit.errors import InputError
from forgetkit.forget_set import Example

_HOW = {
    "exact": "hold the same text",
    "run": "share a run of {limits.shared_words} words",
    "near": "hold near copies (Jaccard {found.value:.2f})",
    "meaning": "hold texts of the same meaning (cosine {found.value:.2f})",
}
RATE_NEEDS, MEMBERSHIP_NEEDS = 20, 100
"""Examples below which evaluation gives no rate, and no membership score."""


def check_overlap(
    splits: Mapping[str, Sequence[Example]],
    limits: Limits | int,
    *,
    allowed: bool,
    encode: Encode | None = None,
    workers: int = 1,
) -> list[Overlap]:
    """Refuse splits that overlap, unless that is allowed.

    Args:
        splits: examples by split.
        limits: from where on two examples overlap; a number is the length of a common run.
        allowed: return the pairs instead.
        encode: turns texts into vectors; None leaves meaning out.
        workers: threads.

    Raises:
        InputError: naming the two splits and the pair of example ids.
    """
    limits = Limits(limits) if isinstance(limits, int) else limits
    found = overlaps(splits, limits, encode=encode, workers=workers)
    if found and not allowed:
        first = found[0]
        how = _HOW[first.kind].format(limits=limits, found=first)
        more = f", and {len(found) - 1} more pairs" if len(found) > 1 else ""
        raise InputError(
            f"the splits {first.split} and {first.other} {how}",
            found=f"{first.example} and {first.twin}{more}",
            mend="Give other --retain or --holdout data, or --allow-overlap.",
        )
    return found


def check_filled(
    splits: Mapping[str, Sequence[Example]], needed: Sequence[str], least: int = 1
) -> None:
    """Refuse a set that lacks a split, or has too few examples in one.

    Raises:
        InputError: naming the split and the flag that fills it.
    """
    for name in needed:
        size = len(splits.get(name, ()))
        check_given(name, splits.get(name, ()))
        if size < least:
            raise InputError(
                f"the split {name} has too few examples",
                found=f"{size} of at least {least}",
                mend=f"To fill it, {_FLAGS[name]}; or set least_examples={size}.",
            )


_FLAGS = {
    "forget": "accept more spans",
    "mismatch": "give --retain",
    "retain": "give --retain",
    "holdout": "give --holdout",
}


def check_given(name: str, rows: Sequence[object]) -> None:
    """Refuse a split that has nothing.

    Raises:
        InputError: naming the split and the flag that fills it.
    """
    if not rows:
        raise InputError(f"the split {name} is empty", mend=f"To fill it, {_FLAGS[name]}.")


def small_splits(splits: Mapping[str, Sequence[Example]]) -> list[str]:
    """Say which numbers evaluation will not give, for want of examples."""
    said = []
    for name in ("forget", "holdout"):
        size = len(splits[name])
        if size < RATE_NEEDS:
            said.append(f"{name} has {size} examples: rates need {RATE_NEEDS}")
    smaller = min(len(splits["forget"]), len(splits["holdout"]))
    if smaller < MEMBERSHIP_NEEDS:
        said.append(
            f"forget or holdout has {smaller} examples: membership needs {MEMBERSHIP_NEEDS} a side"
        )
    return said


def check_templates(splits: Mapping[str, Sequence[Example]]) -> None:
    """Refuse retain, mismatch or holdout in another template than forget.

    The model would learn the template instead of the difference (Yao et al. 2023, section 6).

    Raises:
        InputError: naming the split and both templates.
    """
    wanted = {e.template for e in splits["forget"]}
    for name in ("mismatch", "retain", "holdout"):
        other = sorted({e.template for e in splits.get(name, ())} - wanted)
        if other:
            raise InputError(
                f"the split {name} has another template than forget",
                found=f"{', '.join(other)} beside {', '.join(sorted(wanted))}",
                mend="Give --retain and --holdout in the form of forget: running text for text, "
                "prompt and answer for pairs.",
            )
