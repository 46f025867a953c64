"""The target model inside a build: loaded when first needed, and what of it builds need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from forgetkit.lm.load import LanguageModel


class Target:
    """A model by its name; None: there is none."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._model: LanguageModel | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None

    def model(self) -> LanguageModel:
        """Return the model.

        Raises:
            InputError: none was named.
        """
        from forgetkit.lm.load import load_model

        name = self.check_named()
        if self._model is None:
            self._model = load_model(name)
        return self._model

    def check_named(self) -> str:
        """Return its name.

        Raises:
            InputError: it has none.
        """
        if self.name is None:
            raise InputError(
                "the target model is needed, to answer prompts that come without an answer",
                mend="Give --model, or rows with answers and retain_answers=given (the default).",
            )
        return self.name

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Return its tokenizer alone, or None when no model was named."""
        from forgetkit.lm.load import load_tokenizer

        if self._model is not None:
            return self._model.tokenizer
        if self._tokenizer is None and self.name is not None:
            self._tokenizer = load_tokenizer(self.name)
        return self._tokenizer


def scored_examples(
    language_model: LanguageModel, examples: Sequence[Example], progress: Progress
) -> list[Example]:
    """Return the examples with the extraction strength that the model gives each."""
    from forgetkit.lm.score import extraction_strength, score

    scores = score(language_model, examples, advance=progress.advance)
    return [
        example.known(extraction_strength(found.argmax_hit) or 0.0)
        for example, found in zip(examples, scores, strict=True)
    ]


def too_long(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], max_tokens: int
) -> list[Example]:
    """Return the examples that lose tokens when prompt and answer get `max_tokens` together.

    A prompt may take half of them (`forgetkit.lm.encode`).
    """
    from forgetkit.lm.encode import encode

    lost = []
    for example in examples:
        if len(example.prompt) + len(example.answer) < max_tokens // 4:
            continue  # no tokenizer makes four tokens of a character
        whole = encode(tokenizer, example, max_tokens=2**30)
        if len(whole) > max_tokens or len(whole.prompt_ids) > max_tokens // 2:
            lost.append(example)
    return lost
