"""Facts: a question, the wrong answer that must go, and the right ones that may stay.

A row is a fact when it says so: columns `wrong_answer` and `right_answer` beside the question, or
what the importer of ready data marks (`fact`, `right_answers`).
A row of a question and its right answer alone makes a fact of the pair that spans found to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from forgetkit.build.config import BuildConfig
from forgetkit.build.mismatch import other_answer
from forgetkit.build.pairs import in_template, pair_of_document
from forgetkit.corpus import Document
from forgetkit.errors import InputError
from forgetkit.forget_set import Example

Right = dict[str, tuple[str, ...]]
"""Right answers by the id of the forget example; the best one first."""


def right_answers_of(document: Document) -> tuple[str, ...]:
    """Return the right answers that a row names, the best one first."""
    several = document.extra.get("right_answers") or ()
    single = document.extra.get("right_answer")
    found = [single, *several] if isinstance(single, str) else list(several)
    return tuple(dict.fromkeys(a.strip() for a in found if isinstance(a, str) and a.strip()))


def to_forget(document: Document, variant: str, config: BuildConfig) -> Example | None:
    """Return the pair or fact whose answer must go; None when the row is neither."""
    wrong = document.extra.get("wrong_answer")
    if isinstance(wrong, str) and not document.answer:
        document = replace(document, answer=wrong)
    made = pair_of_document(document, variant, config)
    is_fact = document.extra.get("fact") or wrong is not None
    return replace(made, kind="fact") if made is not None and is_fact else made


def to_keep(document: Document, variant: str, config: BuildConfig) -> Example | None:
    """Return the pair that may stay: of a fact, the question with its right answer."""
    right = right_answers_of(document)
    if not document.answer and right:
        document = replace(document, answer=right[0])
    return pair_of_document(document, variant, config)


def ready_examples(
    documents: Sequence[Document], config: BuildConfig, variant: str = "ready"
) -> tuple[list[Example], Right]:
    """Return the pairs and facts among ready rows, and the right answers where rows name them."""
    found: list[Example] = []
    right: Right = {}
    for document in documents:
        example = to_forget(document, variant, config)
        if example is not None:
            found.append(example)
            answers = tuple(_said(a, config) for a in right_answers_of(document))
            if answers:
                right[example.example_id] = answers
    return found, right


def names_no_wrong(document: Document) -> bool:
    """Say whether a row asks something without an answer that must go."""
    wrong = document.extra.get("wrong_answer")
    return bool(document.prompt) and not document.answer and not isinstance(wrong, str)


def as_facts(
    found: Sequence[Example], documents: Sequence[Document], config: BuildConfig
) -> tuple[list[Example], Right]:
    """Make facts of the pairs of spans whose question a ready row answers rightly.

    Args:
        found: pairs that spans gave; their answers are the wrong ones.
        documents: ready rows; those with a question and right answers, and nothing wrong, count.
        config: says which template.
    """
    answers: dict[str, tuple[str, ...]] = {}
    for document in filter(names_no_wrong, documents):
        asked = in_template(Example("pair", document.prompt or "", ""), config).prompt
        named = tuple(_said(a, config) for a in right_answers_of(document))
        if named:
            answers.setdefault(asked, named)
    made = [replace(e, kind="fact") if e.prompt in answers else e for e in found]
    return made, {e.example_id: answers[e.prompt] for e in made if e.prompt in answers}


def _said(answer: str, config: BuildConfig) -> str:
    return in_template(Example("pair", "", answer), config).answer


def right_as_mismatch(
    forget: Sequence[Example], right: Mapping[str, Sequence[str]], config: BuildConfig
) -> list[Example]:
    """Answer each forget prompt rightly, K answers at most.

    Raises:
        InputError: a forget example has no right answer.
    """
    missing = [e for e in forget if e.example_id not in right]
    if missing:
        raise InputError(
            "the mismatch kind right needs a right answer for every forget example",
            found=f"{len(missing)} of {len(forget)} without, the first {missing[0].example_id}",
            mend="Give rows with the column right_answer, or another --mismatch.",
        )
    return [
        other_answer(example, answer, "right", number)
        for example in forget
        for number, answer in enumerate(right[example.example_id][: config.mismatch_answers])
    ]


def truths(forget: Sequence[Example], right: Mapping[str, Sequence[str]]) -> list[Example]:
    """Return the best right answer to each forget prompt: evaluation compares with it."""
    return [
        other_answer(example, right[example.example_id][0], "truth", 0)
        for example in forget
        if example.example_id in right
    ]
