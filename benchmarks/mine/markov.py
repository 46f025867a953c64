"""Make any amount of text from a little: a chain over words, many texts at once.

The next word follows from the last word, and in some steps from the last two. A first-order chain
keeps word frequencies and sentence lengths but shares fewer phrases with other texts than people's
prose does; a second-order chain recites its source, and every long run would occur many times:
copies that nobody planted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

SECOND = 0.2  # chance that a step looks at two words
PARAGRAPH = 0.2  # chance that a sentence ends its paragraph
BLOCK = 1024  # texts that are walked at once
_ENDS = (".", "!", "?", '."', '!"', '?"', ".'", "!'", "?'", ".”", "!”", "?”")


class Markov:
    """A chain over the words of some texts.

    Args:
        texts: what it imitates.
        second: chance that a step looks at the last two words, in [0, 1].
    """

    def __init__(self, texts: Sequence[str], second: float = SECOND) -> None:
        tokens = [token for text in texts for token in text.split()]
        vocabulary, ids = np.unique(np.array(tokens, dtype=object), return_inverse=True)
        self.words: list[str] = vocabulary.tolist()
        size = len(self.words)
        self._ends = np.array([word.endswith(_ENDS) for word in self.words])
        order = np.argsort(ids[:-1], kind="stable")
        self._next = ids[order + 1].astype(np.int32)
        counts = np.bincount(ids[:-1], minlength=size)
        self._first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        self._count = counts.astype(np.int64)
        self._second = second
        keys = ids[:-2].astype(np.int64) * size + ids[1:-1]
        order = np.argsort(keys, kind="stable")
        self._pairs, self._after = keys[order], ids[2:][order].astype(np.int32)
        self._openings = ids[np.flatnonzero(self._ends[ids[:-1]]) + 1].astype(np.int32)
        self._spaced = np.array(
            [word + " " for word in self.words] + [word + "\n\n" for word in self.words],
            dtype=object,
        )

    def texts(self, lengths: Sequence[int], random: np.random.Generator) -> Iterator[str]:
        """Yield a text for each length in words; a text ends with a sentence where one is near."""
        for begin in range(0, len(lengths), BLOCK):
            block = np.asarray(lengths[begin : begin + BLOCK])
            walked = self._walk(len(block), int(block.max()), random)
            breaks = self._ends[walked] & (random.random(walked.shape) < PARAGRAPH)
            codes = np.where(breaks, walked + len(self.words), walked)
            for row, length in enumerate(block):
                yield self._text(codes[row, :length])

    def _walk(self, texts: int, steps: int, random: np.random.Generator) -> npt.NDArray[np.int32]:
        """Return word numbers, `(texts, steps)`."""
        walked = np.empty((steps, texts), np.int32)
        now = random.choice(self._openings, texts)
        before = np.zeros(texts, np.int32)
        for step in range(steps):
            walked[step] = now
            count = self._count[now]
            pick = self._first[now] + (random.random(texts) * count).astype(np.int64)
            following = self._next[np.minimum(pick, len(self._next) - 1)]
            following = np.where(count > 0, following, self._openings[0])
            looks = random.random(texts) < self._second
            following[looks] = self._by_two(before[looks], now[looks], following[looks], random)
            before, now = now, following
        return walked.T

    def _by_two(
        self,
        before: npt.NDArray[np.int32],
        now: npt.NDArray[np.int32],
        otherwise: npt.NDArray[np.int32],
        random: np.random.Generator,
    ) -> npt.NDArray[np.int32]:
        """Return what follows two words in the source; `otherwise` where nothing does."""
        keys = before.astype(np.int64) * len(self.words) + now
        first = np.searchsorted(self._pairs, keys)
        count = np.searchsorted(self._pairs, keys, side="right") - first
        pick = first + (random.random(len(keys)) * count).astype(np.int64)
        known = self._after[np.minimum(pick, len(self._after) - 1)]
        return np.where(count > 0, known, otherwise)

    def _text(self, codes: npt.NDArray[np.int32]) -> str:
        ends = np.flatnonzero(self._ends[codes % len(self.words)])
        if len(ends) and ends[-1] >= 0.7 * len(codes):
            codes = codes[: ends[-1] + 1]
        return "".join(self._spaced[codes].tolist()).strip()


def word_counts(
    characters: int, mean: int, least: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return text lengths in words that add up to about so many characters.

    Args:
        characters: of all texts together.
        mean: words of a text on average; lengths are log-normal, as on the web.
        least: words of the shortest text.
        random: source of the lengths.
    """
    count = max(1, round(characters / (mean * 5.6)))
    spread = 0.8
    lengths = random.lognormal(np.log(mean) - spread**2 / 2, spread, count)
    return np.clip(lengths, least, 12 * mean).astype(np.int64)
