"""Mismatch: what the model shall say instead to each forget prompt.

Ordinary answers come from other data, of the same form and similar length, and none may be near
the true answer: by common runs of words, and by meaning where texts are embedded anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.overlap import Encode, runs_of
from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.seeds import generator

RUN = 3
MOST_SHARED = 0.1
"""Share of an answer's runs of three words that the true answer may hold."""
MOST_LIKE = 0.6
"""Cosine of an answer with the true text up to which it counts as another answer."""
NEAREST = 16
"""Answers of the nearest length among which the choice is drawn."""
STOCK = frozenset({"refusal", "neutral"})
"""Kinds whose answers suit any prompt: drawn from all of them."""


def shares_words(answer: str, truth: str) -> bool:
    """Say whether an answer repeats the true one.

    >>> shares_words("the old red barn stood open", "a new red barn")
    False
    >>> shares_words("the old red barn stood open", "the old red barn")
    True
    """
    own = set(runs_of(answer, RUN))
    return bool(own) and len(own & set(runs_of(truth, RUN))) > MOST_SHARED * len(own)


@dataclass(frozen=True)
class Nearness:
    """Which answers of a pool are near which true answer.

    Attributes:
        by_words: (forget example, answer) that share runs of words.
        by_meaning: the same by cosine.
    """

    by_words: set[tuple[int, int]]
    by_meaning: set[tuple[int, int]]

    def __contains__(self, pair: object) -> bool:
        """Say whether an answer may not be given to a forget example."""
        return pair in self.by_words or pair in self.by_meaning


def nearness(forget: Sequence[Example], pool: Sequence[str], encode: Encode | None) -> Nearness:
    """Compare every answer of a pool with every true answer.

    Args:
        forget: the examples whose answers are the truth.
        pool: other answers.
        encode: turns texts into vectors of length 1; None compares words alone.
    """
    own = [set(runs_of(answer, RUN)) for answer in pool]
    by_words = set()
    for row, example in enumerate(forget):
        truth = set(runs_of(example.answer, RUN))
        for column, runs in enumerate(own):
            if runs and len(runs & truth) > MOST_SHARED * len(runs):
                by_words.add((row, column))
    by_meaning: set[tuple[int, int]] = set()
    if encode is not None and pool:
        import numpy as np

        cosines = encode([f"{e.prompt} {e.answer}" for e in forget]) @ encode(pool).T
        by_meaning = {(int(r), int(c)) for r, c in np.argwhere(cosines > MOST_LIKE)}
    return Nearness(by_words, by_meaning)


def mismatched(
    forget: Sequence[Example],
    pool: Sequence[str],
    config: BuildConfig,
    kind: str,
    *,
    encode: Encode | None = None,
    books: Books | None = None,
) -> list[Example]:
    """Pair each forget prompt with K answers from a pool of other answers, drawn by seed.

    An ordinary answer is one of the nearest in length that are not near the true one; a refusal
    or a neutral sentence may be any. No answer comes twice for one prompt while there are others.

    Args:
        forget: the examples.
        pool: other answers.
        config: K and the seed.
        kind: ordinary, refusal or neutral.
        encode: turns texts into vectors of length 1; None compares words alone.
        books: told how many answers were too near.

    Raises:
        InputError: the pool is empty, or all of it is near some true answer.
    """
    pool = sorted(set(pool))
    if not pool:
        raise InputError(f"there are no {kind} answers to mismatch with", mend="Give --retain.")
    near = Nearness(set(), set()) if kind in STOCK else nearness(forget, pool, encode)
    if books is not None and kind not in STOCK:
        books.count("mismatch answers near the true one by words", len(near.by_words))
        books.count("mismatch answers near the true one by meaning", len(near.by_meaning))
    rng = generator(config.seed, "mismatch")
    found: list[Example] = []
    for row, example in enumerate(forget):
        options = [a for column, a in enumerate(pool) if (row, column) not in near]
        if not options:
            raise InputError(
                "every other answer is near the true one",
                where=example.example_id,
                mend="Give more, or more different, --retain data.",
            )
        if kind not in STOCK:
            size = len(example.answer)
            options = sorted(options, key=lambda a: (abs(len(a) - size), a))
            options = options[: max(NEAREST, config.mismatch_answers)]
        wanted = config.mismatch_answers
        picks = rng.choice(len(options), size=wanted, replace=wanted > len(options))
        found += [
            other_answer(example, options[int(pick)], kind, number)
            for number, pick in enumerate(picks)
        ]
    return found


def other_answer(example: Example, answer: str, kind: str, number: int) -> Example:
    """Return a forget example's prompt with another answer, in the form of the true one."""
    spaced = example.template == "plain"
    return replace(
        example,
        answer=f" {answer.lstrip()}" if spaced else answer,
        variant=kind,
        pair_of=example.example_id,
        source=f"{example.source}#{number}",
        memorization=None,
        answer_mask=(),
    )
