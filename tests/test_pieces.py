"""Pieces of files read one by one give what the whole file gives; data sets of the hub too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetkit.corpus import Document, Quarantine, read_batches, read_corpus
from forgetkit.corpus.batches import read_piece
from forgetkit.corpus.pieces import Piece, pieces_of
from forgetkit.errors import InputError, StorageError


def documents_of(pieces: list[Piece], quarantine: Quarantine) -> list[Document]:
    return [
        batch.document(i)
        for piece in pieces
        for batch in read_piece(piece, quarantine=quarantine)
        for i in range(len(batch))
    ]


@given(
    st.lists(st.sampled_from([b'{"text": "one"}', b'{"id": 3, "text": "two"}', b"{", b"", b"\r"])),
    st.booleans(),
    st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_pieces_of_a_line_file_together_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool, unit: int
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "a.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n" * ended)
    whole, cut = Quarantine(), Quarantine()
    expected = documents_of([Piece("a.jsonl", path, 0, None, 1, 0, "")], whole)
    pieces = pieces_of("a.jsonl", path, unit)
    assert documents_of(pieces, cut) == expected
    assert cut.rows == whole.rows
    assert cut.accounting() == whole.accounting()
    assert sum(piece.size for piece in pieces) == path.stat().st_size
    assert all(piece.size <= unit + 25 for piece in pieces)


def test_row_groups_are_pieces_with_their_rows(tmp_path: Path) -> None:
    table = pa.table({"text": [f"text {n}" for n in range(100)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=9)
    with pa.ipc.new_file(tmp_path / "b.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=9)
    for name in ("a.parquet", "b.arrow"):
        pieces = pieces_of(name, tmp_path / name, 150)
        assert len(pieces) > 3
        documents = documents_of(pieces, Quarantine())
        assert [d.source for d in documents] == [f"{name}:{n}" for n in range(1, 101)]
        assert [d.text for d in documents] == table.column("text").to_pylist()


def test_a_changed_byte_changes_the_fingerprint_of_its_piece_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "aaaa"}\n' * 50)
    before = pieces_of("a.jsonl", path, 200)
    path.write_bytes(path.read_bytes()[:-5] + b"b" + path.read_bytes()[-4:])
    after = pieces_of("a.jsonl", path, 200)
    assert before[:-1] == after[:-1]
    assert before[-1].fingerprint != after[-1].fingerprint


def test_a_file_that_becomes_shorter_is_no_silent_loss(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "aaaa"}\n' * 50)
    pieces = pieces_of("a.jsonl", path, 200)
    path.write_bytes(b'{"text": "aaaa"}\n' * 40)
    with pytest.raises(StorageError, match="became shorter"):
        documents_of(pieces, Quarantine())


def test_a_saved_data_set_is_a_corpus(tmp_path: Path) -> None:
    rows = {"question": ["Why?", "How?"], "answer": ["So.", "Thus."]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    quarantine = Quarantine()
    documents = list(read_corpus([tmp_path / "saved"], quarantine=quarantine))
    assert [(d.prompt, d.answer) for d in documents] == [("Why?", "So."), ("How?", "Thus.")]
    assert quarantine.rows == []


def test_a_data_set_of_the_hub_is_read_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps({"text": f"t{n}"}) + "\n" for n in range(3)), "utf-8")
    load = datasets.load_dataset

    def local(name: str, part: str | None, *, split: str | None) -> Any:
        assert (name, part) == ("org/name", None)
        files = {"train": str(source), "test": str(source)}
        return load("json", data_files=files, split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", local)
    batches = list(read_batches([Path("hf:org/name")], quarantine=Quarantine()))
    assert [(b.label, len(b)) for b in batches] == [
        ("org/name/test-00000.arrow", 3),
        ("org/name/train-00000.arrow", 3),
    ]
    (batch,) = read_batches([Path("hf:org/name@train")], quarantine=Quarantine())
    assert batch.document(2).text == "t2"


def test_a_data_set_that_the_hub_does_not_give_is_named() -> None:
    with pytest.raises(InputError, match="hf:org/name@split"):
        list(read_corpus([Path("hf:no-such/data-set")], quarantine=Quarantine()))
