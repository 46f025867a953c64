from __future__ import annotations

import contextlib
import gzip
import json
import operator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from forgetkit.corpus import Document, DocumentBatch, Quarantine, buffers, read_batches, read_corpus
from forgetkit.dedupe import dedupe
from forgetkit.errors import InputError


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


def both(path: Path, **named: Any) -> tuple[list[Document], Quarantine]:
    """Read by the row and by the batch, prove that both agree, and return what they gave."""
    by_row, by_batch = Quarantine(), Quarantine()
    documents: list[Document] = []
    batched: list[Document] = []
    with contextlib.suppress(InputError):
        documents += read_corpus([path], quarantine=by_row, **named)
    with contextlib.suppress(InputError):
        for batch in read_batches([path], quarantine=by_batch, **named):
            assert (np.diff(batch.rows) > 0).all()
            batched += map(batch.document, range(len(batch)))
    assert [replace(d, extra={}) for d in documents] == batched
    assert by_row.accounting() == by_batch.accounting()
    key = operator.attrgetter("file", "line", "reason")
    assert sorted(by_row.rows, key=key) == sorted(by_batch.rows, key=key)
    return documents, by_batch


LINES = [
    b'{"id": "a", "text": "one"}',
    b'{"id": 7, "text": "two", "n": 1e999}',
    b'{"doc_id": -0, "content": "three"}',
    b'{"text": null, "content": "four"}',
    b'{"text": "five", "content": ["not", "text"]}',
    b'{"prompt": "Why?", "answer": "", "text": ""}',
    b'{"question": "Why?", "response": "So \xc3\xa9 \\ud83d\\ude00 \\\\u0000"}',
    b'  {"text": "spaces around"}\t\r',
    b'{"text": "carriage return"}\r',
    b'{"text": "a \xe2\x80\xa8 b"}',
    b'{"text": "twice", "text": "last"}',
    b'{"x": 1, "x": 2, "text": "twice"}',
    b'{"text": "To Infinity, and NaN, too"}',
    b'{"te\\u0078t": "escaped name"}',
    b'{"text": "nested", "x": [[{"y": [1, 2]}]]}',
    b'{"text": "brackets ' + b"[" * 300 + b'"}',
    b'{"text": "digits ' + b"7" * 6000 + b'"}',
    b'{"text": "number", "n": ' + b"7" * 6000 + b"}",
    b'{"text": "x", "n": NaN}',
    b'{"text": "x", "n": [-Infinity]}',
    b'{"text": "x", "n": Inf}',
    b'{"text": "x", "a": ' + b"[" * 200 + b"]" * 200 + b"}",
    b'{"text": "a"}{"text": "b"}',
    b'{"text": "a"}\r{"text": "b"}',
    b'{"text":',
    b'"open"}',
    b'{"answer": "only"}',
    b'{"text": ""}',
    b'{"text": 3}',
    b'{"text": {"a": 1}}',
    b'{"id": true, "text": "x"}',
    b'{"id": 1.5, "text": "x"}',
    b'{"text": "\\ud800"}',
    b'{"text": "\\udc00\\ud800"}',
    b'{"text": "\\ud800\\u0041"}',
    b'{"text": "a\\u0000b"}',
    b'{"text": "a\0b"}',
    b'{"text": "a"}\0',
    b'{"text": "\xff"}',
    b'{"\xff": 1, "text": "x"}',
    b'{"text": "tab\tinside"}',
    b'{"text": "x",}',
    b"{'text': 'x'}",
    b'{"text": "x"} // comment',
    b'\xef\xbb\xbf{"text": "byte order mark"}',
    b"[1]",
    b"null",
    b"\x0c",
    b"",
    b"   ",
]


@given(st.lists(st.sampled_from(LINES), max_size=30), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_mixture_of_lines_gives_the_same_by_row_and_by_batch(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[bytes], ended: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(b"\n".join(chosen) + b"\n" * ended)
    both(path)


@pytest.mark.parametrize("line", LINES)
def test_one_odd_line_among_many_good_ones_is_judged_alike(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    good = b'{"id": "%d", "text": "good"}\n'
    path.write_bytes(
        b"".join(good % n for n in range(90)) + line + b"\n" + b"".join(good % n for n in range(90))
    )
    documents, quarantine = both(path)
    assert 180 <= len(documents) <= 182
    assert len(quarantine.rows) <= 2


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_the_same_by_row_and_by_batch(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    endings = (".jsonl", ".jsonl.gz", ".csv", ".txt", ".parquet", ".arrow", ".warc")
    for ending in endings:
        path = folder / f"a{ending}"
        path.write_bytes(content)
        both(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["id", "doc_id", "text", "content", "prompt", "answer", "response", "n"])


@given(st.lists(st.dictionaries(names, st.text() | json_values), max_size=12), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_rows_give_the_same_by_row_and_by_batch(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ascii_only: bool
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    both(path)
    both(path, columns={"text": "content", "answer": "n"})


def tables() -> list[pa.Table]:
    texts = pa.array(["one", "", None, "vier é", "NUL \0"] * 5)
    odd = pa.array([b"fine", b"\xff", b"a", None, b"b"] * 5).view(pa.string())
    return [
        pa.table({"id": pa.array(range(25)), "text": texts}),
        pa.table({"id": pa.array([True] * 25), "text": texts}),
        pa.table({"text": texts.dictionary_encode(), "content": odd}),
        pa.table({"prompt": texts, "answer": pa.array([1] * 25)}),
        pa.table({"prompt": pa.nulls(25), "text": odd.cast(pa.binary())}),
        pa.table({"question": texts.cast(pa.large_string()), "answer": pa.array(["x"] * 25)}),
        pa.table({"n": texts}),
        pa.table({"text": pa.array([], pa.string())}),
    ]


@pytest.mark.parametrize("number", range(8))
def test_tables_give_the_same_by_row_and_by_batch(tmp_path: Path, number: int) -> None:
    table = tables()[number]
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    feather.write_feather(table, tmp_path / "b.feather", chunksize=7)
    with pa.ipc.new_stream(tmp_path / "c.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    counts = {name: len(both(tmp_path / name)[0]) for name in ("a.parquet", "b.feather", "c.arrow")}
    assert len(set(counts.values())) == 1
    assert counts["a.parquet"] == (10, 0, 15, 0, 0, 15, 0, 0)[number]


def warc_record(
    kind: str, content_type: str, body: bytes, record_id: str = "<urn:uuid:1>"
) -> bytes:
    head = {
        "WARC-Type": kind,
        "WARC-Record-ID": record_id,
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return b"WARC/1.0\r\n" + lines.encode() + b"\r\n" + body + b"\r\n\r\n"


def test_the_plain_texts_of_a_web_archive_are_documents_and_the_rest_is_filtered(
    tmp_path: Path,
) -> None:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/%s; charset=latin-1\r\n\r\n\xe9 page"
    records = [
        warc_record("warcinfo", "application/warc-fields", b"software: x"),
        warc_record("conversion", "text/plain", "Ünï\r\n\r\ntext".encode(), "<urn:uuid:2>"),
        warc_record("response", "application/http; msgtype=response", http % b"plain"),
        warc_record("response", "application/http; msgtype=response", http % b"html"),
        warc_record("conversion", "text/plain", b"\xff"),
        warc_record("resource", "image/png", b"x" * 100_000),
        warc_record("conversion", "text/plain", b"cut off"),
    ]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(gzip.compress(b"".join(records)[:-10]))
    documents, quarantine = both(path)
    assert [(d.doc_id, d.text) for d in documents] == [
        ("urn:uuid:2", "Ünï\r\n\r\ntext"),
        ("urn:uuid:1", "é page"),
    ]
    assert quarantine.files["a.warc.gz"].filtered == 3
    assert [(row.line, row.reason) for row in quarantine.rows] == [
        (5, "text in another encoding than stated"),
        (7, "truncated WARC record"),
    ]


def test_a_web_archive_of_pages_in_html_says_what_is_wanted(tmp_path: Path) -> None:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>page"
    record = warc_record("response", "application/http; msgtype=response", http)
    path = tmp_path / "a.warc"
    path.write_bytes(record * 3)
    words = "the corpus is empty; found 3 records without plain text .* WET files"
    with pytest.raises(InputError, match=words):
        list(read_corpus([path], quarantine=Quarantine()))
    with pytest.raises(InputError, match=words):
        dedupe([path], tmp_path / "out")


def test_a_record_with_a_charset_that_decodes_nothing_is_one_bad_row(tmp_path: Path) -> None:
    records = [
        warc_record("resource", f"text/plain; charset={name}", b"text", f"<urn:uuid:{name}>")
        for name in ("undefined", "idna\0", "zip", "utf-8")
    ]
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(records))
    documents, quarantine = both(path)
    assert [d.doc_id for d in documents] == ["urn:uuid:utf-8"]
    assert [row.line for row in quarantine.rows] == [1, 2, 3]
