"""Published rephrasings of forget questions, as TOFU's `forget10_perturbed` holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from forgetkit.build.config import BuildConfig
from forgetkit.build.pairs import pair_of_document
from forgetkit.build.ready import read_ready
from forgetkit.forget_set import Example

COLUMN = "paraphrased_question"


def paraphrased(
    forget: Sequence[Example], files: Sequence[Path], config: BuildConfig
) -> list[Example]:
    """Ask for forget examples in the words of `paraphrased_question`, the answer as it was.

    Args:
        forget: pairs or facts, in their template.
        files: rows of a question and its paraphrase; a question that forget lacks is passed over.
        config: says which template.
    """
    asked: dict[str, str] = {}
    for document in read_ready(files):
        other = document.extra.get(COLUMN)
        old = pair_of_document(document, "", config)
        if isinstance(other, str) and other.strip() and old is not None:
            new = pair_of_document(replace(document, prompt=other), "", config)
            asked[old.prompt] = new.prompt if new is not None else ""
    return [
        replace(e, prompt=asked[e.prompt], variant="paraphrase", pair_of=e.example_id)
        for e in forget
        if e.prompt in asked
    ]
