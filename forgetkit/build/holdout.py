"""Holdout: the control of every forgetting number, cut and chosen to be like forget."""

from __future__ import annotations

from collections.abc import Sequence

from forgetkit.build import pairs, text
from forgetkit.build.books import Books
from forgetkit.build.candidates import distinct
from forgetkit.build.config import BuildConfig
from forgetkit.build.control import Surprise, matched
from forgetkit.build.facts import to_forget
from forgetkit.build.inputs import Inputs
from forgetkit.build.ready import read_ready
from forgetkit.build.target import Target, too_long
from forgetkit.corpus import Document, read_works
from forgetkit.forget_set import Example
from forgetkit.progress import Progress

LEAST = 40
"""Holdout examples where nothing else is asked and forget has fewer."""


def take_holdout(
    inputs: Inputs,
    forget: Sequence[Example],
    surprise: Surprise,
    config: BuildConfig,
    target: Target,
    books: Books,
    progress: Progress,
) -> list[Example]:
    """Take holdout examples of the form, the lengths and the surprise of forget.

    Works are cut at sentence starts into windows of the lengths that forget has, none of which
    overlaps another. Pairs are all taken, unless `holdout_size` says how many.
    """
    if not inputs.holdout:
        return []
    if forget[0].kind == "text":
        works = read_works(inputs.holdout)
        lengths = [(len(e.prompt.split()), len(e.answer.split())) for e in forget]
        pool = text.windows_of_works(works, config, lengths)
        return matched(pool, forget, config.holdout_size or max(len(forget), LEAST), surprise)
    given = read_ready(inputs.holdout, count=books.count, purpose="to compare with")
    found = _pairs(given, config, target, progress)
    tokenizer = target.tokenizer()
    if tokenizer is not None and not config.allow_truncation:
        lost = {e.example_id for e in too_long(tokenizer, found, config.max_tokens)}
        books.count(f"holdout rows of more than {config.max_tokens} tokens", len(lost))
        found = [e for e in found if e.example_id not in lost]
    return matched(found, forget, config.holdout_size or len(found), surprise) if found else []


def _pairs(
    documents: Sequence[Document], config: BuildConfig, target: Target, progress: Progress
) -> list[Example]:
    made = [to_forget(d, "holdout", config) for d in documents]
    answered = [pair for pair in made if pair is not None]
    asked = [d for d, pair in zip(documents, made, strict=True) if pair is None]
    if asked:
        answered += pairs.own_answers(target.model(), asked, config, progress)
    return distinct(answered)
