"""Words of any script, for ROUGE: letters of scripts without spaces stand alone."""

from __future__ import annotations

import re
import unicodedata

_ALONE = (  # Thai, Lao, Tibetan, Myanmar; Khmer; kana; ideographs
    "\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_PIECE = re.compile(rf"[{_ALONE}]|[^\s{_ALONE}]+")


def pieces(text: str) -> list[str]:
    """Return a text as it is written, split at spaces; letters of scripts without them are alone.

    >>> pieces("It's 北京 now.")
    ["It's", '北', '京', 'now.']
    """
    return _PIECE.findall(text)


def beginning(text: str, count: int) -> str:
    """Return the first so many pieces of a text.

    >>> beginning("one two three", 2)
    'one two'
    """
    ends = [found.end() for found in _PIECE.finditer(text)]
    return text if count >= len(ends) else text[: ends[count - 1]] if count > 0 else ""


def words(text: str) -> list[str]:
    """Return lower-cased words of letters, marks and digits: for ASCII those of rouge-score.

    >>> words("It's 北京, naïve_")
    ['it', 's', '北', '京', 'naïve']
    """
    lowered = unicodedata.normalize("NFC", text).lower()
    return _PIECE.findall("".join(c if _in_word(c) else " " for c in lowered))


def _in_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")


class Tokenizer:
    """What `rouge_score.rouge_scorer.RougeScorer` asks for."""

    def tokenize(self, text: str) -> list[str]:
        """Split a text into words."""
        return words(text)
