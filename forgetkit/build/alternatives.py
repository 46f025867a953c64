"""Other answers to the forget prompts, written by a model or a person: for the method `altpo`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from forgetkit.build.config import BuildConfig
from forgetkit.corpus import Document
from forgetkit.errors import InputError
from forgetkit.forget_set import Example


def alternatives(
    forget: Sequence[Example], rows: Sequence[Document], config: BuildConfig
) -> list[Example]:
    """Give each forget prompt its own other answers, K at most.

    Args:
        forget: the forget examples.
        rows: pairs of prompt and answer; a prompt is that of the forget split, spaces around it
            aside, and may come more than once.
        config: how many answers (K).

    Raises:
        InputError: a forget prompt has no row.
    """
    answers: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.prompt and row.answer:
            answers[row.prompt.strip()].append(row.answer)
    missing = [e for e in forget if e.prompt.strip() not in answers]
    if missing:
        raise InputError(
            "the alternatives lack some forget prompts",
            found=f"{len(missing)} of {len(forget)} without an answer",
            mend="Build once with another --mismatch, and answer the prompts of its forget split.",
        )
    return [
        replace(
            example,
            answer=f" {answer.lstrip()}" if example.kind == "text" else answer,
            variant="alternative",
            pair_of=example.example_id,
            source=f"{example.source}#{number}",
        )
        for example in forget
        for number, answer in enumerate(answers[example.prompt.strip()][: config.mismatch_answers])
    ]
