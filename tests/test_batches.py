from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from forgetkit.corpus import Document, DocumentBatch, Quarantine, buffers, read_batches


def test_a_batch_gives_back_the_documents_it_was_made_of() -> None:
    documents = [
        Document("a", "x:y.jsonl:3", text="é text"),
        Document("b", "x:y.jsonl:7", prompt="Why?", answer=""),
    ]
    batch = DocumentBatch.of(documents)
    assert (batch.label, batch.rows.tolist(), len(batch)) == ("x:y.jsonl", [3, 7], 2)
    assert [batch.document(i) for i in range(2)] == documents
    assert batch.text_bytes == 7 + 4
    with pytest.raises(ValueError, match="documents of one file"):
        DocumentBatch.of([*documents, Document("c", "z:1", text="c")])


def test_the_buffers_of_a_column_are_its_bytes_even_of_a_slice() -> None:
    batch = DocumentBatch.of([Document(str(n), f"a:{n}", text="ab" * n) for n in range(1, 5)])
    offsets, data = buffers(batch.columns["text"].slice(1, 2))
    pieces = [bytes(data[begin:end]) for begin, end in pairwise(offsets)]
    assert pieces == [b"abab", b"ababab"]
    assert offsets.dtype == np.int64


def test_batches_hold_one_file_each(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = "".join(json.dumps({"text": f"{name}{n}"}) + "\n" for n in range(3))
        (tmp_path / f"{name}.jsonl").write_text(rows, encoding="utf-8")
    batches = list(read_batches([tmp_path], quarantine=Quarantine()))
    assert [(b.label, b.rows.tolist()) for b in batches] == [
        ("a.jsonl", [1, 2, 3]),
        ("b.jsonl", [1, 2, 3]),
    ]
