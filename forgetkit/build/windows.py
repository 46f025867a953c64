"""Cut passages into prompts and continuations, at word boundaries, with their offsets.

The prompt ends with a word and the answer begins with the space before the next one, so that the
two tokenise apart as they do together.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ranges = Sequence[tuple[int, int]]

_WORD = re.compile(r"\S+")
_SENTENCE_START = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"'”’]))\s+(?=[\"'“‘A-Z])|\n\n+")


@dataclass(frozen=True)
class Window:
    """A prompt and its continuation inside a text; offsets in code points.

    Attributes:
        start: first code point of the prompt.
        middle: one past the prompt's last word.
        end: one past the answer's last word.
    """

    start: int
    middle: int
    end: int

    def of(self, text: str) -> tuple[str, str]:
        """Return prompt and answer; line breaks inside become spaces."""
        prompt = " ".join(text[self.start : self.middle].split())
        answer = " " + " ".join(text[self.middle : self.end].split())
        return prompt, answer


def words_in(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the offsets of the words of `text[start:end]`."""
    return [(m.start(), m.end()) for m in _WORD.finditer(text, start, end)]


def sentence_starts(text: str, start: int, end: int) -> list[int]:
    """Return where sentences start in `text[start:end]`; `start` itself is one."""
    return [start, *(m.end() for m in _SENTENCE_START.finditer(text, start, end))]


def sliding(
    text: str, start: int, end: int, *, prompt_words: int, answer_words: int, stride: int
) -> list[Window]:
    """Return windows over a passage, one every `stride` words; the last one ends with it.

    A passage shorter than prompt and answer gives one window whose prompt is its first third.
    """
    words = words_in(text, start, end)
    if len(words) < 3:
        return []
    if len(words) <= prompt_words + answer_words:
        cut = min(prompt_words, max(1, len(words) // 3))
        return [Window(words[0][0], words[cut - 1][1], words[-1][1])]
    last = len(words) - prompt_words - answer_words
    firsts = list(range(0, last, stride))
    if last - firsts[-1] >= stride // 2:
        firsts.append(last)
    return [_window(words, first, prompt_words, answer_words) for first in firsts]


def at_sentences(
    text: str,
    start: int,
    end: int,
    *,
    prompt_words: int,
    answer_words: int,
    gap: int,
) -> Iterator[Window]:
    """Yield one window a sentence start, each at least `gap` words after the last one began."""
    words = words_in(text, start, end)
    starts = set(sentence_starts(text, start, end))
    free = 0
    last = len(words) - prompt_words - answer_words
    for first, (begin, _) in enumerate(words[: max(last + 1, 0)]):
        if begin in starts and first >= free:
            yield _window(words, first, prompt_words, answer_words)
            free = first + gap


def _window(words: Sequence[tuple[int, int]], first: int, prompt: int, answer: int) -> Window:
    last = min(first + prompt + answer, len(words)) - 1
    return Window(words[first][0], words[first + prompt - 1][1], words[last][1])


def shortened(text: str, window: Window, prompt_words: int, answer_words: int) -> Window:
    """Return the window from its start on, with at most so many words of prompt and answer."""
    words = words_in(text, window.start, window.end)
    prompt_words = min(prompt_words, len(words) - 1)
    return _window(words, 0, prompt_words, answer_words)


def within_tokens(
    text: str, window: Window, tokenizer: PreTrainedTokenizerBase, most: int
) -> Window:
    """Return the window with the longest answer of whole words that is at most `most` tokens.

    One word stays, however long.
    """
    words = words_in(text, window.middle, window.end)

    def tokens(count: int) -> int:
        answer = Window(window.start, window.middle, words[count - 1][1]).of(text)[1]
        return len(tokenizer(answer, add_special_tokens=False).input_ids)

    if not words or tokens(len(words)) <= most:
        return window
    kept = bisect.bisect_right(range(1, len(words)), most, key=tokens)
    return Window(window.start, window.middle, words[max(kept, 1) - 1][1])


def mask_of(text: str, window: Window, protected: Ranges) -> tuple[tuple[int, int], ...] | None:
    """Return which ranges of the window's answer are protected.

    >>> mask_of("one two three four", Window(0, 3, 18), [(4, 13)])
    ((0, 10),)

    Args:
        text: what the window is cut from.
        window: prompt and answer.
        protected: ranges of the text, `[start, end)`.

    Returns:
        Ranges of the answer as `Window.of` gives it, merged; empty when all of it is protected,
        None when nothing is.
    """
    marked: list[bool] = []
    for start, end in words_in(text, window.middle, window.end):
        word = [any(a <= at < b for a, b in protected) for at in range(start, end)]
        before = marked[-1] if marked else True
        marked += [before and word[0], *word]
    if not any(marked):
        return None
    if all(marked):
        return ()
    edges = [i for i in range(len(marked) + 1) if _at(marked, i) != _at(marked, i - 1)]
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def _at(marked: Sequence[bool], place: int) -> bool:
    return 0 <= place < len(marked) and marked[place]
