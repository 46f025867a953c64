"""Parquet files: what holds no span comes out byte for byte, and readers find all of it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_redact_formats import SECRET, redacted

from forgetkit.errors import InputError
from forgetkit.redact.footer import GROUPS, Chunk, chunks_of, read_footer
from forgetkit.redact.thrift import (
    BINARY,
    DOUBLE,
    FALSE,
    I16,
    I32,
    I64,
    LIST,
    STRUCT,
    TRUE,
    Items,
    Reader,
    Struct,
    write,
)


def table(rows: int, holders: tuple[int, ...]) -> pa.Table:
    """Make rows of which some hold the secret."""
    texts = [f"row {n} {SECRET}" if n in holders else f"row {n} nothing" for n in range(rows)]
    return pa.table(
        {
            "n": pa.array(range(rows), pa.int32()),
            "text": pa.array(texts, pa.large_string()),
            "tags": pa.array([[f"t{n % 3}", "é"] for n in range(rows)], pa.list_(pa.string())),
            "when": pa.array([datetime.datetime(2026, 1, 1 + n % 9) for n in range(rows)]),
            "label": pa.array([f"l{n % 2}" for n in range(rows)]).dictionary_encode(),
            "nested": pa.array([{"a": n, "b": None} for n in range(rows)]),
            "maybe": pa.array([None if n % 2 else 1.5 for n in range(rows)]),
        }
    )


def raw(path: Path) -> list[dict[tuple[bytes, ...], bytes]]:
    """Return the bytes of every column chunk, by row group and path."""

    def content(chunk: Chunk) -> bytes:
        return b"".join(chunk.bytes_at(chunk.start, chunk.data.get(7)))

    with path.open("rb") as stream:
        footer = read_footer(stream, str(path))
        return [
            {chunk.path: content(chunk) for chunk in chunks_of(group, stream)}
            for group in footer.get(GROUPS).values
        ]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"compression": "zstd", "write_page_index": True, "write_page_checksum": True},
    {"compression": "none", "use_dictionary": False, "data_page_version": "2.0"},
    {"version": "1.0", "use_deprecated_int96_timestamps": True, "compression": "gzip"},
    {"sorting_columns": [pq.SortingColumn(0)], "store_schema": False},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_only_the_chunks_that_must_change_do(tmp_path: Path, options: dict[str, Any]) -> None:
    path, whole = tmp_path / "c.parquet", table(50, (13, 14, 44))
    pq.write_table(whole, path, row_group_size=10, **options)
    before = raw(path)
    for mode in ("mask", "cut", "drop"):
        new, _ = redacted(path, mode)
        after = raw(new)
        for group in (0, 2, 3):
            assert after[group] == before[group]
        same = {c for c in before[1] if after[1][c] == before[1][c]}
        assert (same == set(before[1]) - {(b"text",)}) == (mode != "drop")
        expected = pq.read_table(path).to_pylist()
        for row in expected:
            row["text"] = row["text"].replace(SECRET, "[removed]" if mode == "mask" else "").strip()
        if mode == "drop":
            expected = [row for row in expected if row["n"] not in (13, 14, 44)]
        assert pq.read_table(new).to_pylist() == expected
        old, now = pq.ParquetFile(path), pq.ParquetFile(new)
        assert now.schema_arrow.equals(old.schema_arrow, check_metadata=True)
        assert now.metadata.num_rows == len(expected)
        assert now.metadata.created_by == old.metadata.created_by
        assert now.metadata.row_group(4).sorting_columns == (
            old.metadata.row_group(4).sorting_columns if mode == "drop" else ()
        )


def test_page_indexes_and_filters_still_find_rows(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    whole = table(3000, (100,))
    pq.write_table(whole, path, row_group_size=1000, write_page_index=True, data_page_size=256)
    new, _ = redacted(path, "drop")
    for group in range(3):
        column = pq.ParquetFile(new).metadata.row_group(group).column(0)
        assert column.has_offset_index
        assert column.has_column_index
    with new.open("rb") as stream:
        footer = read_footer(stream, "")
        for group in footer.get(GROUPS).values:
            for chunk in chunks_of(group, stream):
                offsets = Reader(
                    b"".join(chunk.bytes_at(chunk.struct.get(4), chunk.struct.get(5)))
                ).struct()
                pages = [page.get(1) for page in offsets.get(1).values]
                assert pages[0] == chunk.data.get(9)  # the first data page
                assert pages == sorted(pages)
                assert pages[-1] < chunk.start + chunk.data.get(7)
    rows = pq.read_table(new, filters=[("n", ">", 2990)]).num_rows
    assert rows == 9


def test_a_bloom_filter_moves_with_its_column(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(table(20, (2,)), path, row_group_size=10)
    content = path.read_bytes()
    with path.open("rb") as stream:
        footer = read_footer(stream, "")
    length = int.from_bytes(content[-8:-4], "little")
    filters, data = b"a filter of some bytes", content[: -8 - length]
    chunk = footer.get(GROUPS).values[1].get(1).values[0].get(3)
    chunk.fields[14], chunk.fields[15] = (I64, len(data)), (I32, len(filters))
    other = footer.get(GROUPS).values[1].get(1).values[1].get(3)
    other.fields[14] = (I64, len(data))  # of unknown length
    tail = write(footer)
    path.write_bytes(data + filters + tail + len(tail).to_bytes(4, "little") + b"PAR1")
    new, _ = redacted(path, "drop")
    with new.open("rb") as stream:
        moved = chunks_of(read_footer(stream, "").get(GROUPS).values[1], stream)
        place, size = moved[0].data.get(14), moved[0].data.get(15)
        assert b"".join(moved[0].bytes_at(place, size)) == filters
        assert moved[1].data.get(14) is None
    assert pq.read_table(new).num_rows == 19


def test_a_schema_that_pyarrow_writes_otherwise_is_encoded_anew(tmp_path: Path) -> None:
    path, whole = tmp_path / "c.parquet", table(20, (2,))
    pq.write_table(whole, path, row_group_size=10, use_compliant_nested_type=False,
                   store_schema=False)  # fmt: skip
    new, _ = redacted(path, "drop")
    expected = [row for row in pq.read_table(path).to_pylist() if row["n"] != 2]
    assert pq.read_table(new).to_pylist() == expected
    assert [pq.read_metadata(new).row_group(g).num_rows for g in (0, 1)] == [9, 10]


def test_a_broken_footer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    for content in (b"", b"PAR1", b"PAR1" + b"\xff" * 40 + (20).to_bytes(4, "little") + b"PAR1",
                    b"PAR1" + bytes(20) + (999).to_bytes(4, "little") + b"PAR1"):  # fmt: skip
        path.write_bytes(content)
        with path.open("rb") as stream, pytest.raises(InputError, match=r"c\.parquet"):
            read_footer(stream, str(path))


INTEGERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.tuples(st.sampled_from([I16, I32, I64]), INTEGERS),
    st.tuples(st.just(BINARY), st.binary(max_size=40)),
    st.tuples(st.just(DOUBLE), st.binary(min_size=8, max_size=8)),
    st.booleans().map(lambda value: (TRUE if value else FALSE, value)),
    st.tuples(st.just(LIST), st.builds(Items, st.just(I64), st.lists(INTEGERS, max_size=20))),
)
STRUCTS = st.recursive(
    st.builds(Struct, st.dictionaries(st.integers(1, 300), VALUES, max_size=6)),
    lambda inner: st.builds(
        Struct, st.dictionaries(st.integers(1, 300), st.tuples(st.just(STRUCT), inner), max_size=3)
    ),
)


@given(STRUCTS)
def test_what_is_written_reads_back(struct: Struct) -> None:
    assert Reader(write(struct)).struct() == struct


@given(st.binary(max_size=60))
def test_any_bytes_are_a_structure_or_an_error(content: bytes) -> None:
    try:
        found = Reader(content).struct()
    except ValueError:
        return
    assert isinstance(found, Struct)
