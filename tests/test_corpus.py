from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from forgetkit.corpus import (
    Document,
    Quarantine,
    corpus_files,
    lines,
    read_corpus,
    read_works,
    rows,
)
from forgetkit.corpus.rows import csv_rows, depth
from forgetkit.dedupe import dedupe
from forgetkit.errors import InputError, TooManyBadRowsError


def read(*paths: Path, quarantine: Quarantine | None = None, **named: Any) -> list[Document]:
    return list(read_corpus(paths, quarantine=quarantine or Quarantine(), **named))


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="")
    return path


def reasons(path: Path) -> list[tuple[int, int | None, str]]:
    quarantine = Quarantine()
    with contextlib.suppress(InputError):
        read(path, quarantine=quarantine)
    return [(row.line, row.offset, row.reason) for row in quarantine.rows]


def test_every_format_gives_the_same_documents(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"id": "a", "text": 'Eins,\n"zwei"'}, {"id": "b", "text": "drei\u2028vier"}]
    raw = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(raw)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(raw[:20]) + gzip.compress(raw[20:]))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(raw))
    with (tmp_path / "d.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "text"])
        writer.writeheader()
        writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    quarantine = Quarantine()
    documents = read(tmp_path, quarantine=quarantine)
    assert quarantine.rows == []
    assert [(d.doc_id, d.text) for d in documents] == [(r["id"], r["text"]) for r in rows] * 5
    assert documents[0].source == "a.jsonl:1"
    assert documents[-1].source == "e.parquet:2"


def test_a_text_file_is_one_document_named_by_its_stem(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note.md").write_bytes("é\r\nx".encode())
    (document,) = read(tmp_path)
    assert (document.doc_id, document.source, document.text) == ("note", "in/note.md:1", "é\r\nx")


def test_a_pair_keeps_its_columns_apart_and_the_rest_in_extra(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"id": 7, "prompt": "Why?", "answer": "So.", "n": 1})
    (document,) = read(path)
    assert document.is_pair
    assert document.doc_id == "7"
    assert document.fields() == [("prompt", "Why?"), ("answer", "So.")]
    assert document.extra == {"n": 1}


def test_named_columns_are_taken_and_others_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"body": "one"}, {"text": "two"})
    quarantine = Quarantine()
    (document,) = read(path, columns={"text": "body"}, quarantine=quarantine)
    assert document.text == "one"
    assert document.doc_id == hashlib.sha256(b"a.jsonl:1").hexdigest()[:16]
    assert quarantine.rows[0].reason == "none of the columns body"
    (document,) = read(path, columns={"id": "body"})
    assert document.text == "two"
    with pytest.raises(InputError, match="unknown column role"):
        read(path, columns={"txt": "body"})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "x"', "broken JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"text": 3}', "column of the text holds int, not text"),
        (b'{"body": "x"}', "none of the columns text, content, prompt, question"),
        (b'{"text": ""}', "no text"),
        (b'{"text": "\\ud800"}', "lone surrogate"),
        (b'{"text": "x", "note": "\\ud800"}', "lone surrogate"),
        (b'{"text": "a\\u0000b"}', "NUL character"),
        (b'{"text": "\xff"}', "invalid UTF-8"),
        (b'{"text": NaN}', "broken JSON"),
        (b'{"id": true, "text": "x"}', "column of the id holds bool, not text"),
        (b'{"text": "x", "a": ' + b"[" * 200 + b"]" * 200 + b"}", "JSON nested deeper than 128"),
        (b"[" * 200_000, "JSON nested deeper than 128"),
        (b'{"text": "x", "n": ' + b"9" * 5000 + b"}", "broken JSON"),
    ],
)
def test_a_bad_line_is_recorded_and_the_reading_goes_on(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n' + line + b'\n\n{"text": "two"}')
    quarantine = Quarantine()
    assert [d.source for d in read(path, quarantine=quarantine)] == ["a.jsonl:1", "a.jsonl:4"]
    (bad,) = quarantine.rows
    assert (bad.line, bad.offset, bad.reason) == (2, 16, reason)
    assert bad.sha256 == hashlib.sha256(line).hexdigest()
    books = quarantine.accounting()["a.jsonl"]
    assert (books["read"], books["kept"], books["quarantined"]) == (3, 2, 1)
    quarantine.write(tmp_path / "quarantine.jsonl")
    written = json.loads((tmp_path / "quarantine.jsonl").read_text(encoding="utf-8"))
    assert set(written) == {"file", "line", "offset", "reason", "sha256"}


def test_a_valid_surrogate_pair_is_no_lone_surrogate(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "\\ud83d\\ude00 \\\\u0000"}\n')
    assert read(path)[0].text == "😀 \\u0000"


def test_an_over_long_line_is_hashed_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 1000)
    monkeypatch.setattr(lines, "BLOCK", 64)
    long = b'{"text": "' + b"x" * 2000 + b'"}'
    path = tmp_path / "a.jsonl"
    path.write_bytes(long + b'\n{"text": "two"}\n')
    quarantine = Quarantine()
    assert [d.text for d in read(path, quarantine=quarantine)] == ["two"]
    assert quarantine.rows[0].reason == "line of more than 1000 bytes"
    assert quarantine.rows[0].sha256 == hashlib.sha256(long).hexdigest()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_file_keeps_its_whole_rows(tmp_path: Path, suffix: str) -> None:
    import random

    noise = random.Random(0)
    rows = b"".join(b'{"text": "%x"}\n' % noise.getrandbits(4000) for _ in range(400))
    packed = gzip.compress(rows) if suffix == ".gz" else zstandard.compress(rows)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    quarantine = Quarantine()
    documents = read(path, quarantine=quarantine)
    assert 100 < len(documents) < 400
    assert [row.reason for row in quarantine.rows] == ["truncated compressed data"]


def test_what_is_no_gzip_or_parquet_is_one_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"plain text, no archive")
    (tmp_path / "b.parquet").write_bytes(b"plain text, no archive")
    assert reasons(tmp_path / "a.jsonl.gz") == [(1, 0, "corrupted gzip data")]
    assert reasons(tmp_path / "b.parquet")[0][2].startswith("not a Parquet file")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_decompression_bomb_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(lines, "RATIO_FREE", 2**20)
    bomb = b" " * 2**24
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(gzip.compress(bomb) if suffix == ".gz" else zstandard.compress(bomb))
    assert [reason for *_, reason in reasons(path)] == ["decompression ratio over 200:1"]


def test_csv_rows_of_the_wrong_width_or_encoding_are_bad(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,n\n"a\nb",1\nc\n\xff,2\nd,3\n')
    quarantine = Quarantine()
    assert [d.text for d in read(path, quarantine=quarantine)] == ["a\nb", "d"]
    assert [(row.line, row.reason) for row in quarantine.rows] == [
        (4, "1 cells where the header has 2"),
        (5, "invalid UTF-8"),
    ]


def test_too_many_bad_rows_end_the_run(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "x"}\n' + b"broken\n" * 11)
    quarantine = Quarantine()
    read(path, quarantine=quarantine)
    with pytest.raises(TooManyBadRowsError, match="11 bad rows, 10 allowed"):
        quarantine.check()
    Quarantine(11, quarantine.files, quarantine.rows).check()


def test_missing_empty_and_unknown_inputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    with pytest.raises(InputError, match="the corpus is empty"):
        read(tmp_path / "empty.jsonl")
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(InputError, match="is no corpus file"):
        read(tmp_path / "a.docx")
    quarantine = Quarantine()
    with pytest.raises(InputError, match="the corpus is empty"):
        read(tmp_path, quarantine=quarantine)
    assert quarantine.ignored == ["a.docx"]


def test_files_that_share_a_name_get_their_folders_in_front(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        jsonl(tmp_path / folder / "a.jsonl", {"text": folder})
    both = [tmp_path / "y", tmp_path / "x"]
    assert [label for label, _ in corpus_files(both)] == ["x/a.jsonl", "y/a.jsonl"]
    assert corpus_files(both) == corpus_files(both[::-1])
    assert len(corpus_files([*both, tmp_path / "x" / "a.jsonl"])) == 2


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("corpus") / "a.jsonl"
    raw = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in [*texts, "end"])
    path.write_bytes(raw.encode())
    assert [d.text for d in read(path)] == [*texts, "end"]


@given(st.binary(max_size=300))
def test_any_bytes_raise_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.csv", "a.txt", "a.parquet"):
        path = folder / name
        path.write_bytes(content)
        quarantine = Quarantine()
        with contextlib.suppress(InputError):
            read(path, quarantine=quarantine)
        total = quarantine.total()
        assert total.read == total.kept + total.quarantined


def test_depth_ignores_brackets_in_strings() -> None:
    assert depth(rb'{"a\"[[[": [[1], "]]{{"]}') == 3


def test_works_come_from_files_and_tables(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Text.", encoding="utf-8")
    rows = [{"work": "two", "text": "A."}, {"work": "two", "text": "B.", "title": "Second"}]
    jsonl(tmp_path / "more.jsonl", *rows)
    works = read_works([tmp_path])
    assert [(w.work_id, w.text) for w in works] == [("one", "Text."), ("two", "A.\n\nB.")]


def test_a_bad_row_of_a_work_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"work": "x"})
    with pytest.raises(InputError, match="lacks the column 'text'"):
        read_works([path])
    jsonl(tmp_path / "x.jsonl", {"work": "a", "text": "1"})
    jsonl(tmp_path / "y.jsonl", {"work": "a", "text": "2"})
    with pytest.raises(InputError, match="two files hold the work 'a'"):
        read_works([tmp_path / "x.jsonl", tmp_path / "y.jsonl"])


def test_a_link_is_a_file_by_its_own_name(tmp_path: Path) -> None:
    for name in ("blobs", "named"):
        (tmp_path / name).mkdir()
    (tmp_path / "blobs" / "3f2a").write_text('{"text": "One."}\n', encoding="utf-8")
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "named" / name).symlink_to(tmp_path / "blobs" / "3f2a")
    (tmp_path / "c.jsonl").symlink_to(tmp_path / "blobs" / "3f2a")
    (document,) = read_corpus([tmp_path / "named"], quarantine=Quarantine())
    assert document.source == "a.jsonl:1"  # the same bytes under two names are read once
    (document,) = read_corpus([tmp_path / "c.jsonl"], quarantine=Quarantine())
    assert document.source == "c.jsonl:1"


@given(
    st.lists(
        st.tuples(st.text('ab",\n\r é', min_size=1, max_size=8), st.text("x\r\n", max_size=4)),
        max_size=5,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_cells_of_csv_are_those_of_the_file_line_ends_too(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], end: str, mark: bytes
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator=end).writerows(
        [("text", "note"), *rows]
    )
    path.write_bytes(mark + written.getvalue().encode())
    with path.open(encoding="utf-8-sig", newline="") as stream:
        expected = [(row["text"], row["note"]) for row in csv.DictReader(stream)]
    found = [
        (row.values["text"], row.values["note"]) for row in csv_rows(path) if row.values is not None
    ]
    assert found == expected == rows


def test_a_text_file_that_is_too_large_is_named_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_TEXT", 10)
    (tmp_path / "book.txt").write_text("eleven bytes", "utf-8")
    jsonl(tmp_path / "a.jsonl", {"text": "one"})
    with pytest.raises(InputError, match=r"book\.txt: a text file is one document"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"book\.txt: a text file is one document"):
        dedupe([tmp_path], tmp_path / "out", workers=2)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_says_what_is_wanted(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "one"}, {"text": "two"}], indent=indent), "utf-8")
    with pytest.raises(InputError, match="JSON array, where one object a line is wanted"):
        dedupe([path], tmp_path / "out")
