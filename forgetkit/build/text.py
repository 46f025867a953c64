"""Examples of running text: a prompt and its continuation out of one passage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from forgetkit.build.config import BuildConfig
from forgetkit.build.passages import Passage
from forgetkit.build.windows import (
    Window,
    at_sentences,
    mask_of,
    shortened,
    sliding,
    within_tokens,
    words_in,
)
from forgetkit.corpus import Document, Work
from forgetkit.forget_set import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


LEAST_ANSWER = 8
"""Words of an answer below which an ordinary text is too short."""


def prefix_lengths(config: BuildConfig) -> list[int]:
    """Return the words of prompts, each length once."""
    return list(dict.fromkeys((config.prompt_words, *config.other_prompt_words)))


def forget_examples(
    passage: Passage, config: BuildConfig, tokenizer: PreTrainedTokenizerBase | None = None
) -> list[Example]:
    """Cut a passage into windows, of every prefix length and from every kind of start.

    Windows whose answer holds nothing protected are left out.

    Args:
        passage: what to cut.
        config: lengths and starts.
        tokenizer: of the target model, for the limit in tokens; None: words alone count.
    """
    windows = [
        window for length in prefix_lengths(config) for window in _windows(passage, length, config)
    ]
    if "opening" in config.starts:
        windows += opening(passage, config)
    made = [_of_passage(passage, window, "", config, tokenizer) for window in windows]
    return [example for example in made if example is not None]


def opening(passage: Passage, config: BuildConfig) -> list[Window]:
    """Return a window at the first words of a passage with a quarter of the prompt, or none.

    Every other window shows the model these words and asks for what follows: without this one
    nothing would forget them.
    """
    shortest = max(1, config.prompt_words // 4)
    words = len(words_in(passage.text, passage.start, passage.end))
    if words < shortest + LEAST_ANSWER:
        return []
    return sliding(
        passage.text,
        passage.start,
        passage.end,
        prompt_words=shortest,
        answer_words=config.answer_words,
        stride=words,
    )[:1]


def _windows(passage: Passage, prompt_words: int, config: BuildConfig) -> Iterator[Window]:
    if "sliding" in config.starts:
        yield from sliding(
            passage.text,
            passage.start,
            passage.end,
            prompt_words=prompt_words,
            answer_words=config.answer_words,
            stride=config.stride_words,
        )
    if "sentences" in config.starts:
        yield from at_sentences(
            passage.text,
            passage.start,
            passage.end,
            prompt_words=prompt_words,
            answer_words=config.answer_words,
            gap=1,
        )


def probe_examples(
    passage: Passage, config: BuildConfig, tokenizer: PreTrainedTokenizerBase | None = None
) -> list[Example]:
    """Cut the same passage at other start points and prefix lengths: prompts not trained on."""
    found: list[Example | None] = []
    half, more = config.prompt_words // 2, config.prompt_words * 3 // 2
    for name, length, first in (("short prefix", half, 4), ("long prefix", more, 6)):
        words = words_in(passage.text, passage.start, passage.end)
        if len(words) < first + length + 8:
            continue
        windows = sliding(
            passage.text,
            words[first][0],
            passage.end,
            prompt_words=length,
            answer_words=config.answer_words,
            stride=config.stride_words + config.stride_words // 2,
        )
        found += [_of_passage(passage, window, name, config, tokenizer) for window in windows]
    return [example for example in found if example is not None]


def _of_passage(
    passage: Passage,
    window: Window,
    variant: str,
    config: BuildConfig,
    tokenizer: PreTrainedTokenizerBase | None,
) -> Example | None:
    if tokenizer is not None:
        window = within_tokens(passage.text, window, tokenizer, config.answer_tokens)
    mask = mask_of(passage.text, window, passage.ranges())
    if mask is None:
        return None
    prompt, answer = window.of(passage.text)
    place = passage.source.split("[")[0]
    return Example(
        "text",
        prompt,
        answer,
        variant=variant,
        group=passage.group,
        work_id=passage.work_id,
        source=f"{place}[{window.start}:{window.middle}:{window.end}]",
        weight=float(passage.copies) if config.weight_by_copies else 1.0,
        answer_mask=mask,
    )


def windows_of_works(
    works: Sequence[Work], config: BuildConfig, lengths: Sequence[tuple[int, int]] = ()
) -> list[Example]:
    """Cut whole works at sentence starts (holdout; and what a model recites of a work).

    Args:
        works: the works.
        config: words of prompt and answer.
        lengths: words of prompt and answer of single windows, taken in turn.
    """
    prompt_words = max((prompt for prompt, _ in lengths), default=config.prompt_words)
    answer_words = max((answer for _, answer in lengths), default=config.answer_words)
    found: list[Example] = []
    for work in works:
        for window in at_sentences(
            work.text,
            0,
            len(work.text),
            prompt_words=prompt_words,
            answer_words=answer_words,
            gap=prompt_words + answer_words,
        ):
            if lengths:
                window = shortened(work.text, window, *lengths[len(found) % len(lengths)])
            prompt, answer = window.of(work.text)
            source = f"{work.work_id}[{window.start}:{window.middle}:{window.end}]"
            found.append(
                Example(
                    "text",
                    prompt,
                    answer,
                    group=source,
                    work_id=work.work_id,
                    source=source,
                )
            )
    return found


def window_of_document(
    document: Document, config: BuildConfig, variant: str, turn: int = 0
) -> Example | None:
    """Cut one window, as long as those of forget, from a document; None if it is too short.

    Args:
        document: running text.
        config: prefix lengths and words of the answer.
        variant: of the example.
        turn: which of the prefix lengths, counted round; the first where the text is too short.
    """
    words = words_in(document.text, 0, len(document.text))
    lengths = prefix_lengths(config)
    prompt_words = lengths[turn % len(lengths)]
    if len(words) < prompt_words + LEAST_ANSWER:
        prompt_words = lengths[0]
    if len(words) < prompt_words + LEAST_ANSWER:
        return None
    cut = words[: prompt_words + config.answer_words]
    window = Window(cut[0][0], cut[prompt_words - 1][1], cut[-1][1])
    prompt, answer = window.of(document.text)
    return Example(
        "text",
        prompt,
        answer,
        variant=variant,
        group=document.doc_id,
        source=document.source,
    )
