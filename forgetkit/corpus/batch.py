"""Many documents of one file as columns; one becomes a Python object when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgetkit.corpus.document import Document

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

FIELDS = ("text", "prompt", "answer")
"""Columns that hold text, in the order of a document's fields."""


@dataclass(frozen=True)
class DocumentBatch:
    """Documents of one file, column by column, N of them.

    Attributes:
        label: the file, as in a document's source.
        rows: their row or line numbers from 1, ascending, int64, shape (N,).
        doc_ids: their ids, large_string, length N, no null.
        columns: by name (`text`, `prompt`, `answer`) a large_string array of length N, null where
            a row has no such text; a column that is null throughout is left out.
    """

    label: str
    rows: npt.NDArray[np.int64]
    doc_ids: pa.LargeStringArray
    columns: dict[str, pa.LargeStringArray]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def text_bytes(self) -> int:
        """Return how many bytes of text there are, over all columns."""
        total = 0
        for column in self.columns.values():
            offsets, _ = buffers(column)
            total += int(offsets[-1] - offsets[0])
        return total

    def source(self, index: int) -> str:
        """Return `file:row` of one document."""
        return f"{self.label}:{self.rows[index]}"

    def document(self, index: int) -> Document:
        """Return one document as an object, without its other columns."""
        values = {name: column[index].as_py() for name, column in self.columns.items()}
        return Document(
            doc_id=self.doc_ids[index].as_py(),
            source=self.source(index),
            text=values.get("text") or "",
            prompt=values.get("prompt"),
            answer=values.get("answer"),
        )

    @staticmethod
    def of(documents: Sequence[Document]) -> DocumentBatch:
        """Build a batch from documents of one file, in their order.

        Raises:
            ValueError: there is no document, or they come from different files.
        """
        import numpy as np
        import pyarrow as pa

        places = [document.source.rpartition(":") for document in documents]
        labels = {label for label, _, _ in places}
        if len(labels) != 1:
            raise ValueError(f"a batch holds documents of one file, not of {len(labels)}")
        values = {
            "text": [document.text or None for document in documents],
            "prompt": [document.prompt for document in documents],
            "answer": [document.answer for document in documents],
        }
        return DocumentBatch(
            label=labels.pop(),
            rows=np.array([int(row) for _, _, row in places], np.int64),
            doc_ids=pa.array([document.doc_id for document in documents], pa.large_string()),
            columns={
                name: pa.array(column, pa.large_string())
                for name, column in values.items()
                if any(value is not None for value in column)
            },
        )


def buffers(column: pa.LargeStringArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return the offsets (N + 1) and the UTF-8 bytes of a column without copying them.

    Row `i` is `data[offsets[i] : offsets[i + 1]]`; a null row has no bytes in columns that this
    package makes.
    """
    import numpy as np

    _, places, content = column.buffers()
    if places is None or len(column) == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    offsets = np.frombuffer(places, np.int64)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(content, np.uint8) if content is not None else np.zeros(0, np.uint8)
    return offsets, data
