from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_match import WORK, prose

from forgetkit.errors import InputError, TamperedError, UsageError
from forgetkit.match import IndexParams, Policy, WorkIndex
from forgetkit.match.aside import side_by_side
from forgetkit.match.build import in_order
from forgetkit.mine import MineConfig, mine
from forgetkit.mine.explain import explain
from forgetkit.mine.indexing import index_works

TEXT = prose(2, 40) + "\n\n" + WORK[400:900] + "\n\n" + prose(3, 40)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "works.idx"
    WorkIndex.build({"b": prose(5, 300), "a": WORK, "empty": ""}).save(path)
    return path


def test_a_saved_index_finds_what_it_found_before(saved: Path) -> None:
    works = {"b": prose(5, 300), "a": WORK, "empty": ""}
    opened = WorkIndex.open(saved)
    assert opened.find(TEXT) == WorkIndex(works).find(TEXT) != []
    assert opened.works() == works
    assert opened.params == IndexParams(24, 8)


def test_the_same_works_give_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.idx"
    WorkIndex.build({"empty": "", "a": WORK, "b": prose(5, 300)}).save(again)
    assert again.read_bytes() == saved.read_bytes()
    assert saved.stat().st_mode & 0o777 == 0o600


def test_what_is_no_index_is_refused_in_one_line(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.idx"
    for content in (b"", b"forgetkit", b"PK\x03\x04" + bytes(500)):
        other.write_bytes(content)
        with pytest.raises(InputError, match="is no index of works"):
            WorkIndex.open(other)
    with pytest.raises(InputError, match="no such file"):
        WorkIndex.open(tmp_path / "none.idx")
    other.write_bytes(with_header(saved.read_bytes(), b'"version":2', b'"version":1'))
    with pytest.raises(InputError, match="is an index of another version"):
        WorkIndex.open(other)
    other.write_bytes(with_header(saved.read_bytes(), b'"folding":"', b'"folding":"0'))
    with pytest.raises(InputError, match="other folding rules"):
        WorkIndex.open(other)


def test_an_index_made_to_harm_is_refused(saved: Path, tmp_path: Path) -> None:
    from dataclasses import asdict

    from forgetkit.match.index_file import read_index, write_index

    names, arrays, params = read_index(saved)
    for name in ("text_starts", "symbol_starts", "marks", "slots", "places"):
        wild = getattr(arrays, name) + getattr(arrays, name).dtype.type(1 << 30)
        path = tmp_path / f"{name}.idx"
        write_index(path, names, arrays._replace(**{name: wild}), params)
        with pytest.raises(TamperedError):
            WorkIndex.open(path)
    assert params == asdict(IndexParams())


@pytest.mark.parametrize(
    "params",
    [
        {"seed": "abc", "density": 8},
        {"seed": 24.0, "density": 8},
        {"seed": True, "density": 8},
        {"seed": 24},
        {"seed": 24, "density": 8, "more": 1},
        {"seed": 4, "density": 8},
        [["seed", 24], ["density", 8]],
        "seed",
    ],
)
def test_an_index_with_other_parameters_is_refused(
    saved: Path, tmp_path: Path, params: Any
) -> None:
    from forgetkit.match.index_file import read_index, write_index

    names, arrays, _ = read_index(saved)
    write_index(tmp_path / "works.idx", names, arrays, params)
    with pytest.raises(TamperedError):
        WorkIndex.open(tmp_path / "works.idx")


def test_an_index_of_works_that_are_no_text_is_refused(saved: Path, tmp_path: Path) -> None:
    from forgetkit.match.index_file import read_index, write_index

    names, arrays, params = read_index(saved)
    text = arrays.text.copy()
    text[5] = 0xFF
    write_index(tmp_path / "works.idx", names, arrays._replace(text=text), params)
    with pytest.raises(TamperedError, match="not UTF-8"):
        WorkIndex.open(tmp_path / "works.idx")


def with_header(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return an index whose header says something else, with the digest that goes with it."""
    size = int.from_bytes(content[16:24], "little")
    header = content[56 : 56 + size].replace(old, new)
    digest = hashlib.sha256(header).digest()
    return content[:16] + len(header).to_bytes(8, "little") + digest + header + content[56 + size :]


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_an_index_with_one_changed_byte_is_refused(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, where: float, change: int
) -> None:
    content = bytearray(saved.read_bytes())
    place = int(where * len(content))
    content[place] ^= change
    damaged = tmp_path_factory.mktemp("damaged") / "works.idx"
    damaged.write_bytes(content)
    with pytest.raises((InputError, TamperedError)):
        WorkIndex.open(damaged)


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 1, exclude_max=True))
def test_an_index_cut_short_is_refused(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, where: float
) -> None:
    content = saved.read_bytes()
    cut = tmp_path_factory.mktemp("cut") / "works.idx"
    cut.write_bytes(content[: int(where * len(content))])
    with pytest.raises((InputError, TamperedError)):
        WorkIndex.open(cut)


def test_a_column_is_searched_row_by_row() -> None:
    index = WorkIndex({"a": WORK})
    column = pa.array(["skipped", None, TEXT, "", "é" + TEXT], pa.large_string())
    found = index.find_column(column)
    assert [row for row, _ in found] == [2, 4]
    assert found[1][1].start == found[0][1].start + 1
    assert [row for row, _ in index.find_column(column.slice(2))] == [0, 2]
    assert index.find_column(column.slice(0, 0)) == []


def test_a_stretch_of_too_many_works_is_no_evidence() -> None:
    works = {str(number): prose(number, 60) + "\n\n" + WORK[300:700] for number in range(20, 24)}
    text = prose(2, 20) + "\n\n" + WORK[300:700] + "\n\n" + prose(20, 60)
    every = WorkIndex(works).find(text)
    assert [match.work_id for match in every] == ["20", "21", "22", "23", "20"]
    (alone,) = WorkIndex(works, policy=Policy(max_works=3)).find(text)
    assert (alone.work_id, alone.start) == ("20", every[-1].start)


def test_texts_to_ignore_take_their_quotations_away() -> None:
    scripture = WorkIndex({"scripture": WORK[300:700]})
    works = {"novel": prose(20, 60) + "\n\n" + WORK[300:700] + "\n\n" + prose(21, 60)}
    quoted = prose(2, 20) + "\n\n" + WORK[320:680] + "\n\n" + prose(3, 20)
    copied = prose(2, 20) + "\n\n" + works["novel"]
    assert len(WorkIndex(works).find(quoted)) == 1
    assert WorkIndex(works, policy=Policy(ignore=(scripture,))).find(quoted) == []
    assert len(WorkIndex(works, policy=Policy(ignore=(scripture,))).find(copied)) == 1


def test_mine_takes_an_index_for_its_works_and_finds_the_same(tmp_path: Path) -> None:
    (tmp_path / "works").mkdir()
    (tmp_path / "works" / "novel.txt").write_text(WORK, encoding="utf-8")
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": "d", "text": TEXT}) + "\n")
    done = index_works([tmp_path / "works"], tmp_path / "works.idx")
    assert (done.works, done.bytes) == (1, (tmp_path / "works.idx").stat().st_size)
    config = MineConfig(detectors=("verbatim",))
    found = [
        mine([tmp_path / "corpus.jsonl"], tmp_path / out, works=[works], config=config)
        for out, works in (("1", tmp_path / "works"), ("2", tmp_path / "works.idx"))
    ]
    assert found[0].spans == found[1].spans != []
    assert found[1].missing_works == []
    with pytest.raises(UsageError, match="holds something else"):
        index_works([tmp_path / "works"], tmp_path / "corpus.jsonl")
    both = [tmp_path / "works", tmp_path / "works.idx"]
    with pytest.raises(InputError, match="two files hold the work 'novel'"):
        mine([tmp_path / "corpus.jsonl"], tmp_path / "both", works=both, config=config)


def test_a_span_is_explained_beside_its_work_without_control_characters(tmp_path: Path) -> None:
    words = WORK[:600].split()
    words[20], words[40] = "\x1b[31mchanged\u202e", ""
    (tmp_path / "novel.txt").write_text(WORK, encoding="utf-8")
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": "d", "text": " ".join(words)}) + "\n")
    found = mine(
        [tmp_path / "corpus.jsonl"],
        tmp_path / "out",
        works=[tmp_path / "novel.txt"],
        config=MineConfig(detectors=("verbatim",)),
    )
    (span,) = found.spans
    spans = tmp_path / "out" / "spans.parquet"
    explained = explain(spans, span.span_id[:6], [tmp_path / "novel.txt"])
    assert {line.mark for line in explained.lines} == {"=", "|", ">"}
    assert " ".join(line.there for line in explained.lines if line.there) == " ".join(
        WORK[span.work_start : span.work_end].split()
    )
    with pytest.raises(UsageError, match="no span begins with 'zz'"):
        explain(spans, "zz", [tmp_path / "novel.txt"])
    command = [sys.executable, "-m", "forgetkit_cli", "explain"]
    done = subprocess.run(
        [*command, str(spans), span.span_id, "--works", str(tmp_path / "novel.txt")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "changed" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


@given(
    st.lists(st.sampled_from(["ab", "c.", "d,", "é"])), st.lists(st.sampled_from(["ab", "c", "d"]))
)
def test_side_by_side_shows_every_word_of_both_texts(a: list[str], b: list[str]) -> None:
    lines = side_by_side(" ".join(a), " ".join(b), width=6)
    assert " ".join(line.here for line in lines).split() == a
    assert " ".join(line.there for line in lines).split() == b


@given(st.lists(st.sampled_from([0, 1, 5, 2**40, 2**61 + 3, 2**64 - 1]), max_size=400))
@settings(deadline=None)
def test_hashes_are_sorted_and_equal_ones_stay_in_the_order_of_the_text(keys: list[int]) -> None:
    given, places = np.array(keys, np.uint64), np.arange(len(keys), dtype=np.uint32)
    order = np.argsort(given, kind="stable")
    found = in_order(given, places)
    assert (found[0] == given[order]).all()
    assert (found[1] == order).all()
