"""Detector `pattern`: words, phrases, names and regular expressions, in linear time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from forgetkit.corpus import DocumentBatch
from forgetkit.errors import InputError, UsageError
from forgetkit.match.phrases import Phrases, folded_words
from forgetkit.mine.config import MineConfig
from forgetkit.mine.cuts import Bytes, Places, column_buffers
from forgetkit.mine.detector import Found, Sought, span_of
from forgetkit.mine.pattern_file import Pattern, read_patterns
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

_MEMORY = 256 << 20  # bytes that RE2 may use; beyond it a search is slower, never wrong
_Place = tuple[int, int, int, Pattern]  # row of the batch, start, end, what was found


class Patterns:
    """Look for what a patterns file lists.

    Phrases and names run through one automaton over folded symbols, regular expressions through
    RE2: no pattern can make the search slow. A place inside a longer one of the same category is
    left out.

    Raises:
        UsageError: there is no patterns file.
        InputError: the file or a pattern cannot be used; the message names its line.
    """

    def __init__(self, sought: Sought, config: MineConfig) -> None:
        if config.patterns is None:
            raise UsageError("the pattern detector needs patterns", mend="Give --patterns FILE.")
        patterns = read_patterns(config.patterns)
        listed = [p for p in patterns if p.kind != "regex"]
        pairs = [(pattern, text) for pattern in listed for text in pattern.variants()]
        self._listed = [pattern for pattern, _ in pairs]
        self._words = [folded_words(text) for _, text in pairs]
        for pattern, words in zip(self._listed, self._words, strict=True):
            if not words:
                raise InputError("has no letter or digit", where=pattern.where)
        self._phrases = (
            Phrases([text for _, text in pairs], [p.is_inside for p in self._listed])
            if pairs
            else None
        )
        self._expressions = [p for p in patterns if p.kind == "regex"]
        self._compiled, self._any = _compiled(self._expressions)
        self._count = len(patterns)

    def look(self, batch: DocumentBatch) -> Found:
        """Return the spans of one batch."""
        spans: list[Span] = []
        for field, column in batch.columns.items():
            data, first, last = column_buffers(column)
            places = [*self._phrase_places(data, first, last, column)]
            places += self._expression_places(data, first, last)
            spans += _spans(batch, field, sorted(places, key=lambda p: (p[0], p[1], -p[2])))
        return Found(spans)

    def _phrase_places(
        self, data: Bytes, first: Places, last: Places, column: pa.LargeStringArray
    ) -> Iterator[_Place]:
        if self._phrases is None:
            return
        row, text = -1, ""
        for hit in self._phrases.find(data, first, last):
            if hit.row != row:
                row, text = hit.row, column[hit.row].as_py()
            pattern = self._listed[hit.phrase]
            piece = text[hit.start : hit.end]
            if pattern.is_loose or folded_words(piece) == self._words[hit.phrase]:
                yield hit.row, hit.start, hit.end, pattern

    def _expression_places(self, data: Bytes, first: Places, last: Places) -> Iterator[_Place]:
        if self._any is None:
            return
        for row in range(len(first)):
            content = data[first[row] : last[row]].tobytes()
            if self._any.search(content) is None:
                continue
            text = content.decode("utf-8", "replace")
            for pattern, expression in zip(self._expressions, self._compiled, strict=True):
                for match in expression.finditer(text):
                    if match.end() > match.start():
                        yield row, match.start(), match.end(), pattern

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Return nothing: `look` said it all."""
        return []

    def report(self) -> dict[str, int | float | str]:
        """Return how many patterns were looked for; every document is read to its end."""
        return {"patterns": self._count}


def _compiled(expressions: list[Pattern]) -> tuple[list[Any], Any]:
    """Compile regular expressions, each alone, and one that is true where any is; none gives None.

    Raises:
        InputError: one is not RE2's syntax, matches the empty text, or needs too much memory.
    """
    if not expressions:
        return [], None
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    compiled = []
    for pattern in expressions:
        try:
            compiled.append(re2.compile(pattern.text, options))
        except re2.error as error:
            reason = error.args[0] if error.args else ""
            found = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise InputError(
                "is no regular expression of RE2",
                where=pattern.where,
                found=found,
                mend="RE2 has no look-around and no back-references.",
            ) from error
        if compiled[-1].search(""):
            raise InputError("matches the empty text", where=pattern.where, found=pattern.text)
    return compiled, re2.compile("|".join(f"(?:{p.text})" for p in expressions), options)


def _spans(batch: DocumentBatch, field: str, places: list[_Place]) -> list[Span]:
    """Return spans of sorted places, without those inside a longer one of the same category."""
    spans: list[Span] = []
    reached: dict[tuple[int, str], int] = {}
    documents: dict[int, Any] = {}
    for row, start, end, pattern in places:
        if end <= reached.get((row, pattern.category), -1):
            continue
        reached[row, pattern.category] = end
        if row not in documents:
            documents[row] = batch.document(row)
        spans.append(
            span_of(
                documents[row],
                field,
                start,
                end,
                detector="pattern",
                category=pattern.category,
                score=1.0,
            )
        )
    return spans
