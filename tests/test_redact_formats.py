"""Every format that is read is written again without its spans, and otherwise as it was."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from base64 import b32encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from forgetkit.corpus import Document, Quarantine, read_corpus
from forgetkit.errors import InputError
from forgetkit.redact import RedactConfig, RedactResult, redact
from forgetkit.redact.cells import _cells
from forgetkit.redact.streams import line_groups
from forgetkit.spans import Span, write_spans

SECRET = "brass lock"
TEXTS = ["Plain, é.", f"The {SECRET}, they said.", "Other.", SECRET, "Last one."]


def documents(path: Path) -> list[Document]:
    return list(read_corpus([path], quarantine=Quarantine()))


def spans_in(path: Path) -> list[Span]:
    """Find the secret in every field of a corpus, as a detector would."""
    return [
        Span(d.doc_id, d.source, field, at, at + len(SECRET), "verbatim", "copy", 1.0, SECRET)
        for d in documents(path)
        for field, text in d.fields()
        if (at := text.find(SECRET)) >= 0
    ]


def redacted(path: Path, mode: str) -> tuple[Path, RedactResult]:
    folder = path.parent / f"out-{mode}"
    spans = path.parent / "spans.parquet"
    write_spans(spans, spans_in(path))
    result = redact([path], spans, folder, accept_all=True, config=RedactConfig(mode=mode))
    return folder / "corpus" / path.name, result


def check_texts(path: Path) -> dict[str, RedactResult]:
    """Redact a corpus of `TEXTS` in every mode, and look at the texts that are left."""
    left = {
        "drop": [TEXTS[0], TEXTS[2], TEXTS[4]],
        "cut": [TEXTS[0], "The, they said.", TEXTS[2], TEXTS[4]],
        "mask": [text.replace(SECRET, "[removed]") for text in TEXTS],
    }
    results = {}
    for mode, texts in left.items():
        new, results[mode] = redacted(path, mode)
        assert [d.text for d in documents(new)] == texts
        counts = results[mode].counts
        assert counts["documents"] == 5
        assert counts["kept"] == 3
    return results


def jsonl() -> bytes:
    rows = [{"id": f"d{n}", "n": n * 1.50, "text": text} for n, text in enumerate(TEXTS)]
    return "".join(json.dumps(row, separators=(" ,", ": ")) + "\r\n" for row in rows).encode()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def unzstd(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)


def same(content: bytes) -> bytes:
    return content


Code = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("ending", "encode", "decode"),
    [("", same, same), (".gz", gzipped, gzip.decompress), (".zst", zstd, unzstd)],
)
def test_json_lines_keep_their_compression_and_the_bytes_of_other_lines(
    tmp_path: Path, ending: str, encode: Code, decode: Code
) -> None:
    path = tmp_path / f"c.jsonl{ending}"
    path.write_bytes(encode(b"\xef\xbb\xbf" + jsonl()))
    check_texts(path)
    before = (b"\xef\xbb\xbf" + jsonl()).split(b"\r\n")
    dropped = decode((tmp_path / "out-drop/corpus" / path.name).read_bytes())
    assert dropped.split(b"\r\n") == [before[0], before[2], *before[4:]]
    masked = decode((tmp_path / "out-mask/corpus" / path.name).read_bytes())
    assert masked == b"\r\n".join(before).replace(SECRET.encode(), b"[removed]")


@pytest.mark.parametrize("name", ["c.jsonl.gz", "c.csv", "c.parquet", "c.arrow", "c.warc.gz"])
def test_a_file_without_spans_is_copied_whole_and_its_documents_counted(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "x.txt").write_text(SECRET)
    table = pa.table({"text": ["a", "b", "c"]})
    path = folder / name
    if name.endswith("parquet"):
        pq.write_table(table, path, compression="gzip")
    elif name.endswith("arrow"):
        write_arrow(path, table)
    elif name.endswith("warc.gz"):
        path.write_bytes(b"".join(gzipped(record(f"r{n}", "text")) for n in range(3)))
    else:
        lines = 'text\n"a"\nb\n"c"\n' if name == "c.csv" else '{"text": "a"}\n\n' * 3
        path.write_bytes(gzipped(lines.encode()) if name.endswith("gz") else lines.encode())
    write_spans(tmp_path / "s.parquet", spans_in(folder))
    result = redact([folder], tmp_path / "s.parquet", tmp_path / "out", accept_all=True)
    assert (tmp_path / "out" / "corpus" / name).read_bytes() == path.read_bytes()
    assert result.accounting[name]["documents"] == result.accounting[name]["kept"] == 3


def test_csv_keeps_its_header_quotes_line_ends_and_broken_rows(tmp_path: Path) -> None:
    raw = (
        '\ufeffid,"text",n\r\n'
        'a,"Plain, ""é""",1\r\n'
        'b,"The brass lock,\r\nthey ""said"".","2"\r\n'
        "\r\n"
        "only,two\r\n"
        "c,brass lock,3\r\n"
        'd,"x"y,4\r\n'
        "e,end,5"
    )
    path = tmp_path / "c.csv"
    path.write_bytes(raw.encode())
    masked, result = redacted(path, "mask")
    assert masked.read_bytes().decode() == raw.replace(SECRET, "[removed]")
    assert (result.counts["changed"], result.counts["documents"]) == (2, 6)
    dropped, _ = redacted(path, "drop")
    lines = raw.split("\r\n")
    assert dropped.read_bytes().decode() == "\r\n".join([*lines[:2], *lines[4:6], *lines[7:]])
    cut, _ = redacted(path, "cut")
    assert 'b,"The,\r\nthey ""said"".","2"\r\n' in cut.read_bytes().decode()


def test_line_ends_within_a_cell_count_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(b'text,n\r\n"One\r\ntwo\nbrass lock\r\nthree",1\r\n')
    masked, _ = redacted(path, "mask")
    assert masked.read_bytes() == path.read_bytes().replace(SECRET.encode(), b"[removed]")


@given(st.lists(st.text(alphabet='ab",\n\r é', max_size=6), min_size=1, max_size=5))
def test_the_cells_of_a_row_are_found_as_they_are_written(cells: list[str]) -> None:
    sink = io.StringIO(newline="")
    csv.writer(sink, lineterminator="").writerow(cells)
    written = _cells(sink.getvalue())
    read = [c[1:-1].replace('""', '"') if c.startswith('"') else c for c in written]
    assert read == cells
    assert ",".join(written) == sink.getvalue()


def test_parquet_keeps_row_groups_columns_metadata_and_compression(tmp_path: Path) -> None:
    texts = [*TEXTS, *(f"more {n}" for n in range(7))]
    schema = pa.schema(
        [("n", pa.int32()), ("text", pa.large_string()), ("tags", pa.list_(pa.string()))],
        metadata={b"maker": b"ours"},
    )
    tags = [[f"t{n % 2}"] for n in range(12)]
    table = pa.table([list(range(12)), texts, tags], schema=schema)
    path = tmp_path / "c.parquet"
    codecs = {"n": "snappy", "text": "zstd", "tags.list.element": "none"}
    pq.write_table(table, path, row_group_size=3, compression=codecs, use_dictionary=["n"])
    for mode, sizes in (("drop", [2, 2, 3, 3]), ("mask", [3, 3, 3, 3])):
        new, _ = redacted(path, mode)
        before, after = pq.ParquetFile(path), pq.ParquetFile(new)
        assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
        groups = [after.metadata.row_group(g) for g in range(after.metadata.num_row_groups)]
        assert [group.num_rows for group in groups] == sizes
        for column in range(3):
            old, now = before.metadata.row_group(0).column(column), groups[0].column(column)
            assert now.compression == old.compression
            assert now.path_in_schema == old.path_in_schema
            assert now.has_dictionary_page == old.has_dictionary_page
        kept = after.read().to_pylist()
        assert [row for row in kept if row["n"] not in (1, 3)] == [
            row for row in table.to_pylist() if row["n"] not in (1, 3)
        ]
    assert kept[3] == {"n": 3, "text": "[removed]", "tags": ["t1"]}


def test_a_row_group_that_loses_all_its_rows_goes(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"text": [SECRET, SECRET, "other"]}), path, row_group_size=2)
    new, result = redacted(path, "drop")
    assert pq.read_table(new)["text"].to_pylist() == ["other"]
    assert pq.read_metadata(new).num_row_groups == 1
    assert result.counts["dropped"] == 2


def write_arrow(path: Path, table: pa.Table, *, stream: bool = False, codec: Any = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=codec)
    opened = pa.ipc.new_stream if stream else pa.ipc.new_file
    with opened(str(path), table.schema, options=options) as writer:
        for first in range(0, len(table), 2):
            rows = table.slice(first, 2).to_pylist()
            writer.write_batch(pa.RecordBatch.from_pylist(rows, table.schema))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_arrow_keeps_its_batches_kind_and_compression(
    tmp_path: Path, stream: bool, codec: str | None
) -> None:
    path = tmp_path / "c.arrow"
    table = pa.table({"text": TEXTS, "n": range(5)}).replace_schema_metadata({"maker": "ours"})
    write_arrow(path, table, stream=stream, codec=codec)
    check_texts(path)
    masked = [text.replace(SECRET, "[removed]") for text in TEXTS]
    write_arrow(tmp_path / "like.arrow", table.set_column(0, "text", [masked]), stream=stream,
                codec=codec)  # fmt: skip
    expected = (tmp_path / "like.arrow").read_bytes()
    assert (tmp_path / "out-mask" / "corpus" / "c.arrow").read_bytes() == expected


def test_a_saved_data_set_still_loads(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(tmp_path / "saved")
    write_spans(tmp_path / "s.parquet", spans_in(tmp_path / "saved"))
    redact([tmp_path / "saved"], tmp_path / "s.parquet", tmp_path / "out", accept_all=True)
    left = datasets.load_from_disk(str(tmp_path / "out" / "corpus"))
    assert left["text"] == [TEXTS[0], TEXTS[2], TEXTS[4]]


def sha1(content: bytes) -> str:
    return "sha1:" + b32encode(hashlib.sha1(content).digest()).decode()


def record(name: str, text: str, kind: str = "conversion") -> bytes:
    body = payload = text.encode()
    content_type = "text/plain"
    if kind == "response":
        inner = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        body, content_type = inner.encode() + payload, "application/http; msgtype=response"
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <{name}>\r\n"
        f"WARC-Block-Digest: {sha1(body)}\r\nWARC-Payload-Digest: {sha1(payload)}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


@pytest.mark.parametrize("kind", ["conversion", "response"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_web_archives_get_new_lengths_and_digests(tmp_path: Path, ending: str, kind: str) -> None:
    encode = gzipped if ending else same
    info = record("info", "about", "warcinfo")
    records = [record(f"r{n}", text, kind) for n, text in enumerate(TEXTS)]
    path = tmp_path / f"c.warc{ending}"
    path.write_bytes(b"".join(map(encode, [info, *records])))
    decode = gzip.decompress if ending else same
    for mode, count in (("drop", 4), ("mask", 6)):
        new, result = redacted(path, mode)
        left = [text.replace(SECRET, "[removed]") for text in TEXTS]
        expected = [record(f"r{n}", text, kind) for n, text in enumerate(left)]
        if mode == "drop":
            expected = [records[0], records[2], records[4]]
        assert decode(new.read_bytes()) == b"".join([info, *expected])
        assert result.counts["documents"] == 6
        assert not ending or new.read_bytes().count(b"\x1f\x8b\x08") == count


def test_a_placeholder_in_another_encoding(tmp_path: Path) -> None:
    head = "WARC/1.0\r\nWARC-Type: resource\r\nContent-Type: text/plain; charset=latin-1\r\n"
    body = f"é {SECRET}".encode("latin-1")
    path = tmp_path / "c.warc"
    path.write_bytes(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n")
    new, _ = redacted(path, "mask")
    left = "é [removed]".encode("latin-1")
    assert new.read_bytes().endswith(b"Content-Length: 11\r\n\r\n" + left + b"\r\n\r\n")


def test_a_truncated_file_with_spans_is_refused_and_without_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(jsonl())
    broken = gzipped(jsonl() * 500)[:-30]
    (folder / "b.jsonl.gz").write_bytes(broken)
    found = spans_in(folder)
    assert any(span.source.startswith("b.jsonl.gz") for span in found)
    write_spans(tmp_path / "some.parquet", [s for s in found if s.source.startswith("a.")])
    result = redact([folder], tmp_path / "some.parquet", tmp_path / "out", accept_all=True)
    assert (tmp_path / "out" / "corpus" / "b.jsonl.gz").read_bytes() == broken
    assert "cannot be read" in result.warnings[0]
    write_spans(tmp_path / "all.parquet", found)
    with pytest.raises(InputError, match="cannot be rewritten; found truncated"):
        redact([folder], tmp_path / "all.parquet", tmp_path / "none", accept_all=True)


def test_prompts_and_answers_in_tables(tmp_path: Path) -> None:
    rows = [("p", "fine"), (f"Say {SECRET}!", "no"), ("q", f"It is the {SECRET}."), ("r", SECRET)]
    path = tmp_path / "c.parquet"
    pq.write_table(
        pa.table({"question": [r[0] for r in rows], "response": [r[1] for r in rows]}), path
    )
    new, result = redacted(path, "cut")
    assert [(d.prompt, d.answer) for d in documents(new)] == [
        rows[0],
        ("Say!", "no"),
        ("q", "It is the."),
    ]
    assert result.counts["emptied"] == 1


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_groups_hold_whole_lines_and_lose_nothing(
    tail: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forgetkit.redact.streams.BLOCK", 7)
    monkeypatch.setattr("forgetkit.redact.streams.MAX_LINE", 20)
    content = b"ab\n\ncd\n" + b"x" * 50 + b"\nefg\nhijklmnop" + tail
    groups = list(line_groups(io.BytesIO(content)))
    assert b"".join(group for group, _ in groups) == content
    for group, ended in groups[:-1]:
        assert group.endswith(b"\n") == ended


def test_a_line_too_long_to_be_read_is_copied_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forgetkit.redact.streams.BLOCK", 64)
    monkeypatch.setattr("forgetkit.redact.streams.MAX_LINE", 200)
    monkeypatch.setattr("forgetkit.corpus.lines.MAX_LINE", 200)
    long = b'{"text": "' + b"y" * 900 + b'"}\n'
    path = tmp_path / "c.jsonl"
    path.write_bytes(jsonl() + long + jsonl())
    new, result = redacted(path, "drop")
    parts = jsonl().split(b"\r\n")
    kept = b"\r\n".join([parts[0], parts[2], *parts[4:]])
    assert new.read_bytes() == kept + long + kept
    assert (result.counts["documents"], result.counts["dropped"]) == (11, 4)
