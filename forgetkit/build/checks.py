"""Checks that refuse: splits that overlap, or that are empty."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from forgetkit.errors import InputError
from forgetkit.forget_set import Example

_WORD = re.compile(r"[^\W_]+")


def overlaps(
    splits: Mapping[str, Sequence[Example]], shared_words: int
) -> list[tuple[str, str, str, str]]:
    """Find pairs of examples in two splits that share a run of words, or a whole short text.

    Probes of the forget text are meant to overlap it, and mismatch shares its prompts; both are
    compared with the others by their answers alone.

    Args:
        splits: examples by split; `prompts` are the probes of the forget text.
        shared_words: length of the run.

    Returns:
        (split, example id, other split, other id), first pair found of each two splits.
    """
    first: dict[str, dict[str, str]] = {
        name: dict(_runs(name, examples, shared_words)) for name, examples in splits.items()
    }
    names = list(splits)
    found: list[tuple[str, str, str, str]] = []
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            if {name, other} == {"forget", "prompts"}:
                continue
            common = first[name].keys() & first[other].keys()
            if common:
                run = min(common)
                found.append((name, first[name][run], other, first[other][run]))
    return found


def _runs(split: str, examples: Sequence[Example], size: int) -> Iterator[tuple[str, str]]:
    for example in examples:
        text = f"{example.prompt} {example.answer}"
        if split == "mismatch":
            text = example.answer
        elif example.variant == "own answer":
            text = example.prompt  # a model's stock phrases recur in all its answers
        if split == "mismatch" and example.variant == "refusal":
            continue  # a refusal is meant to recur
        words = _WORD.findall(text.casefold())
        if len(words) < size:
            yield " ".join(words), example.example_id
        for start in range(len(words) - size + 1):
            yield " ".join(words[start : start + size]), example.example_id


def without_repeats(examples: Sequence[Example], shared_words: int) -> list[Example]:
    """Leave out examples that share a run of words with an earlier one, so that any split is safe.

    Args:
        examples: ordinary rows, in their order.
        shared_words: length of the run; a shorter text counts as a whole.
    """
    seen: set[str] = set()
    kept = []
    for example in examples:
        own = {run for run, _ in _runs("retain", [example], shared_words)}
        if own.isdisjoint(seen):
            kept.append(example)
            seen |= own
    return kept


def check_overlap(
    splits: Mapping[str, Sequence[Example]], shared_words: int, *, allowed: bool
) -> list[tuple[str, str, str, str]]:
    """Refuse splits that overlap, unless that is allowed.

    Raises:
        InputError: naming the two splits and the pair of example ids.
    """
    found = overlaps(splits, shared_words)
    if found and not allowed:
        split, example, other, twin = found[0]
        raise InputError(
            f"the splits {split} and {other} share a run of {shared_words} words",
            found=f"{example} and {twin}"
            + (f", and {len(found) - 1} more pairs of splits" if len(found) > 1 else ""),
            mend="Give other --retain or --holdout data, or --allow-overlap.",
        )
    return found


def check_filled(splits: Mapping[str, Sequence[Example]], needed: Sequence[str]) -> None:
    """Refuse a set that lacks a split.

    Raises:
        InputError: naming the empty split and the flag that fills it.
    """
    flags = {
        "forget": "accept more spans",
        "mismatch": "give --retain",
        "retain": "give --retain",
        "holdout": "give --holdout",
    }
    for name in needed:
        if not splits.get(name):
            raise InputError(f"the split {name} is empty", mend=f"To fill it, {flags[name]}.")
