"""The one document type and the one work type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Document:
    """One text, or one prompt with its answer, of a corpus.

    Attributes:
        doc_id: its id in the corpus; derived from the source where the corpus gives none.
        source: `file:row`, the file relative to what was named, the row counted from 1.
        text: the text; empty in a prompt-answer document.
        prompt: the prompt, or None.
        answer: the answer, or None.
        extra: the other columns, untouched.
    """

    doc_id: str
    source: str
    text: str = ""
    prompt: str | None = None
    answer: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def fields(self) -> list[tuple[str, str]]:
        """Return the columns that hold text, by name.

        >>> Document("a", "a.txt:1", prompt="Why?", answer="So.").fields()
        [('prompt', 'Why?'), ('answer', 'So.')]
        """
        columns = (("text", self.text), ("prompt", self.prompt), ("answer", self.answer))
        return [(name, value) for name, value in columns if value]

    @property
    def is_pair(self) -> bool:
        """Say whether it is a prompt with an answer."""
        return self.prompt is not None and self.answer is not None

    def whole(self) -> str:
        """Return all its text, columns separated by a newline."""
        return "\n".join(value for _, value in self.fields())


@dataclass(frozen=True)
class Work:
    """One protected text.

    Attributes:
        work_id: its id: the stem of its file, or the `work` column.
        title: its title.
        text: its whole text; offsets of matches count its code points.
    """

    work_id: str
    title: str
    text: str
