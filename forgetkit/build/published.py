"""What published sets bring for evaluation: other words for the same questions and answers.

TOFU (Maini et al. 2024, arXiv:2401.06121) has `forget10_perturbed` and `retain_perturbed` with a
paraphrase of each question and answer and five wrong answers of the same form, and questions about
real authors and the world with wrong answers beside the right one. Its truth ratio, forget quality
and model utility are computed from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from forgetkit.build.config import BuildConfig
from forgetkit.build.mismatch import other_answer
from forgetkit.build.pairs import pair_of_document
from forgetkit.build.ready import read_ready
from forgetkit.corpus import Document
from forgetkit.errors import InputError
from forgetkit.forget_set import Example

QUESTION, ANSWER, WRONG = "paraphrased_question", "paraphrased_answer", "perturbed_answer"


def rephrasings(files: Sequence[Path]) -> list[Document]:
    """Read the rows that say questions and answers of forget in other words."""
    return read_ready(files) if files else []


def paraphrased(
    forget: Sequence[Example], documents: Sequence[Document], config: BuildConfig
) -> list[Example]:
    """Ask for forget examples in the words of `paraphrased_question`, the answer as it was.

    Args:
        forget: pairs or facts, in their template.
        documents: a question and its paraphrase; a question that forget lacks is passed over.
        config: says which template.
    """
    asked: dict[str, str] = {}
    for document in documents:
        other = document.extra.get(QUESTION)
        old = pair_of_document(document, "", config)
        if isinstance(other, str) and other.strip() and old is not None:
            new = pair_of_document(replace(document, prompt=other), "", config)
            asked[old.prompt] = new.prompt if new is not None else ""
    return [
        replace(e, prompt=asked[e.prompt], variant="paraphrase", pair_of=e.example_id)
        for e in forget
        if e.prompt in asked
    ]


def other_answers(
    examples: Sequence[Example], documents: Iterable[Document], config: BuildConfig
) -> list[Example]:
    """Return the published other answers to the prompts of examples, as the probe `others`.

    Variant `paraphrase` is the right answer in other words, `perturbed` a wrong one of its form.

    Args:
        examples: rows of forget and of the retain probe, in their template.
        documents: rows with `paraphrased_answer` or `perturbed_answer`; of two with one question
            and answer the first counts.
        config: says which template.

    Raises:
        InputError: such a column holds something else than text, or a list of texts.
    """
    known: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for document in documents:
        said = [
            (variant, answer)
            for variant, column in (("paraphrase", ANSWER), ("perturbed", WRONG))
            for answer in _texts(document, column)
        ]
        own = pair_of_document(document, "", config) if said else None
        if own is not None:
            known.setdefault((own.prompt, own.answer), said)
    return [
        other_answer(example, answer, variant, number)
        for example in examples
        for number, (variant, answer) in enumerate(known.get((example.prompt, example.answer), ()))
    ]


def _texts(document: Document, column: str) -> list[str]:
    value = document.extra.get(column)
    found = [value] if isinstance(value, str) else value or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InputError(
            f"the column {column} holds no text and no list of texts", where=document.source
        )
    return [one for one in found if one.strip()]
