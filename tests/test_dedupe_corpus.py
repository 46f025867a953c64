"""Deduplication of whole corpora: formats, policies, other corpora, increments, kills, workers."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stand_ins import one_hot

from forgetkit.config import parse
from forgetkit.dedupe import DedupeConfig, dedupe
from forgetkit.dedupe.cutting import cut
from forgetkit.engine import plan
from forgetkit.errors import InputError, TamperedError, TooManyBadRowsError, UsageError
from forgetkit.files import sha256_tree
from forgetkit.match.fingerprints import key_of
from forgetkit.match.shingles import column_of
from forgetkit.match.signatures import Signer, salts_of
from forgetkit.match.units import units_of


def prose(seed: int, words: int = 120) -> str:
    dice = random.Random(seed)
    return " ".join(
        "".join(dice.choice("etaoinshrdlu") for _ in range(dice.randint(2, 8)))
        for _ in range(words)
    )


def edited(text: str, seed: int, changes: int = 1) -> str:
    words, dice = text.split(), random.Random(seed)
    for place in dice.sample(range(len(words)), changes):
        words[place] = "changed"
    return " ".join(words)


def jsonl(path: Path, texts: Sequence[str], **columns: Sequence[Any]) -> Path:
    rows = [
        {"id": f"{path.stem}{n}", "text": text} | {k: v[n] for k, v in columns.items()}
        for n, text in enumerate(texts)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def ids(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line)["id"] for line in lines if line]


def mixed_corpus(folder: Path) -> Path:
    """Write the same kinds of copies in every format."""
    a, b, c = prose(1), prose(2), prose(3)
    jsonl(folder / "a.jsonl", [a, b, edited(a, 1)])
    lines = [json.dumps({"text": text}) for text in (c, b.upper())] + ["broken", ""]
    with gzip.open(folder / "b.jsonl.gz", "wb") as stream:
        stream.write("\r\n".join(lines).encode())
    (folder / "c.csv").write_text(
        f'id,text,note\n1,"{edited(c, 2)}","two\nlines"\n2,"{prose(4)}\n{prose(5)}",x\n', "utf-8"
    )
    texts = pa.table(
        {"id": [1, 2, 3], "text": [prose(6), edited(prose(6), 3), prose(7)], "n": [[1], [], [2]]}
    )
    pq.write_table(texts, folder / "d.parquet")
    (folder / "e").mkdir()
    (folder / "e" / "one.txt").write_text(prose(8), "utf-8")
    (folder / "e" / "two.txt").write_text(prose(8) + "!", "utf-8")
    return folder


def test_every_format_keeps_its_rows_as_they_were(tmp_path: Path) -> None:
    corpus = mixed_corpus(tmp_path / "corpus")
    done = dedupe([corpus], tmp_path / "out")
    kept = tmp_path / "out" / "kept"
    assert done.counts == {
        "read": 13,
        "kept": 7,
        "duplicate": 5,
        "quarantined": 1,
        "clusters": 5,
    }
    before = (corpus / "a.jsonl").read_bytes().split(b"\n")
    assert (kept / "a.jsonl").read_bytes().split(b"\n") == [*before[:2], b""]
    assert len(gzip.decompress((kept / "b.jsonl.gz").read_bytes()).split(b"\n")) == 2
    header, row = (corpus / "c.csv").read_bytes().split(b"\n", 1)
    assert (kept / "c.csv").read_bytes() == header + b"\n" + row[row.index(b"\n2,") + 1 :]
    assert pq.read_table(kept / "d.parquet").equals(
        pq.read_table(corpus / "d.parquet").take([0, 2])
    )
    assert sorted(path.name for path in (kept / "e").iterdir()) == ["one.txt"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept.rglob("*") if path.is_file())
    for books in done.accounting.values():
        assert books["read"] == books["kept"] + books["duplicate"] + books["quarantined"]


@pytest.mark.parametrize("level", ["document", "line"])
@pytest.mark.parametrize("last", ["\r\n", ""])
def test_rows_that_stay_keep_every_byte(tmp_path: Path, level: str, last: str) -> None:
    a, b, c = prose(1), prose(2), prose(3)
    folder, mark = tmp_path / "corpus", "\ufeff"
    folder.mkdir()
    rows = [json.dumps({"text": text}).replace(": ", " :  ") for text in (a, b, a, c)]
    lines = {
        "a.jsonl": [mark + rows[0], rows[1], rows[2], rows[3]],
        "b.csv": [
            f"{mark}id,text",
            f'1,"{prose(4)}\r\n{prose(5)}"',
            f'"2",{a}',
            f"'3',{prose(6)}\n4,{prose(7)}",
        ],
    }
    for name, content in lines.items():
        (folder / name).write_bytes(("\r\n".join(content) + last).encode())
    (folder / "c.txt").write_bytes(f"{mark}{prose(8)}\r\n{prose(9)}".encode())
    config = parse(DedupeConfig, {"level": level, "near": False}, "dedupe")
    assert dedupe([folder], tmp_path / "out", config=config).counts["duplicate"] == 2
    for name, content in lines.items():
        expected = "\r\n".join(content[:2] + content[3:]) + last
        assert (tmp_path / "out" / "kept" / name).read_bytes() == expected.encode()
    assert (tmp_path / "out" / "kept" / "c.txt").read_bytes() == (folder / "c.txt").read_bytes()


def test_what_is_kept_holds_no_copies_any_more(tmp_path: Path) -> None:
    corpus = mixed_corpus(tmp_path / "corpus")
    dedupe([corpus], tmp_path / "out")
    again = dedupe([tmp_path / "out" / "kept"], tmp_path / "again")
    assert again.counts["duplicate"] == 0
    assert again.counts["kept"] == 7


def test_the_size_of_tasks_changes_no_result(tmp_path: Path) -> None:
    corpus = mixed_corpus(tmp_path / "corpus")
    rows = pa.table({"text": [prose(n % 9 + 20) for n in range(30)], "date": range(30)})
    pq.write_table(rows, corpus / "f.parquet", row_group_size=4)
    assert len(plan([corpus], 700).tasks) > 8
    for level, keep in (("document", "first"), ("document", "newest"), ("line", "first")):
        values = {"level": level, "keep": keep, "keep_column": "date" if keep == "newest" else None}
        trees = []
        for size in (32.0, 0.0007):
            out = tmp_path / f"{level}-{keep}-{size}"
            config = parse(DedupeConfig, values | {"task_mb": size}, "dedupe")
            dedupe([corpus], out, config=config, workers=2)
            trees.append(sha256_tree(out))
            assert trees[-1].pop("summary.json")
            assert trees[-1].pop(".summary.json.started")
        assert trees[0] == trees[1]


def test_formats_that_are_only_read_become_json_lines(tmp_path: Path) -> None:
    rows = pa.table({"id": ["1", "2", "3"], "text": [prose(1), prose(1), prose(2)]})
    with pa.ipc.new_file(tmp_path / "a.arrow", rows.schema) as writer:
        writer.write_table(rows)
    for level, kept in (("document", ["1", "3"]), ("line", ["1", "3"])):
        config = parse(DedupeConfig, {"level": level}, "dedupe")
        dedupe([tmp_path / "a.arrow"], tmp_path / level, config=config)
        assert ids(tmp_path / level / "kept" / "a.arrow.jsonl") == kept


def killed_at(step: int, corpus: Path, out: Path, arguments: Sequence[str]) -> int:
    """Run dedupe in a child that kills itself at the n-th rename of a finished file."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "left = [int(sys.argv[1])]\n"
        "replace = Path.replace\n"
        "def dying(self, target):\n"
        "    left[0] -= 1\n"
        "    if left[0] < 0:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return replace(self, target)\n"
        "Path.replace = dying\n"
        "from forgetkit.dedupe import DedupeConfig, dedupe\n"
        "config = DedupeConfig(level=sys.argv[4])\n"
        "store = Path(sys.argv[5]) if len(sys.argv) > 5 else None\n"
        "dedupe([Path(sys.argv[2])], Path(sys.argv[3]), config=config, signatures=store)\n"
    )
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", program, str(step), str(corpus), str(out), *arguments]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, env=environment, check=False, timeout=300).returncode


@pytest.mark.parametrize("step", [0, 3, 7, 11])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, step: int) -> None:
    corpus = mixed_corpus(tmp_path / "corpus")
    dedupe([corpus], tmp_path / "whole", signatures=tmp_path / "store1")
    arguments = ("document", str(tmp_path / "store2"))
    code = killed_at(step, corpus, tmp_path / "killed", arguments)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "killed" / "summary.json").exists()
    dedupe([corpus], tmp_path / "killed", signatures=tmp_path / "store2")
    assert sha256_tree(tmp_path / "killed") == sha256_tree(tmp_path / "whole")
    assert sha256_tree(tmp_path / "store2") == sha256_tree(tmp_path / "store1")


def test_a_killed_cutting_of_lines_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    corpus = mixed_corpus(tmp_path / "corpus")
    config = DedupeConfig(level="line")
    dedupe([corpus], tmp_path / "whole", config=config)
    assert killed_at(9, corpus, tmp_path / "killed", ("line",)) == -signal.SIGKILL
    dedupe([corpus], tmp_path / "killed", config=config)
    assert sha256_tree(tmp_path / "killed") == sha256_tree(tmp_path / "whole")


def chain(tmp_path: Path) -> Path:
    """Write texts each of which is near the one before it only."""
    words = prose(1, 200).split()
    texts = []
    for n in range(4):
        words[n * 40 : n * 40 + 20] = prose(50 + n, 20).split()
        texts.append(" ".join(words))
    return jsonl(tmp_path / "chain.jsonl", texts)


def test_a_chain_of_copies_is_cut_when_each_must_be_like_what_stays(tmp_path: Path) -> None:
    path = chain(tmp_path)
    for verify, kept in ((False, ["chain0"]), (True, ["chain0", "chain2"])):
        out = tmp_path / str(verify)
        dedupe([path], out, config=DedupeConfig(threshold=0.75, verify_representative=verify))
        assert ids(out / "kept" / "chain.jsonl") == kept
    matched = {
        row["doc_id"]: row["matched_doc_id"]
        for row in table(tmp_path / "True" / "duplicates.parquet")
    }
    assert matched == {"chain1": "chain0", "chain3": "chain2"}


def test_each_duplicate_says_which_document_it_matched_and_how_well(tmp_path: Path) -> None:
    whole = prose(1, 100)
    part = " ".join(whole.split()[:90])
    path = jsonl(tmp_path / "a.jsonl", [whole, part, whole.upper()])
    dedupe([path], tmp_path / "out")
    near, exact = table(tmp_path / "out" / "duplicates.parquet")
    assert (near["doc_id"], near["matched_doc_id"], near["method"]) == ("a1", "a0", "near")
    assert near["jaccard"] == pytest.approx(86 / 96, abs=1e-6)
    assert near["containment"] == 1.0
    assert near["reason"] == "Jaccard 0.896 of word 5-grams"
    assert (exact["method"], exact["jaccard"], exact["matched_corpus"]) == ("exact", 1.0, "own")


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        ({"keep": "first"}, "a0"),
        ({"keep": "longest"}, "b0"),
        ({"keep": "newest", "keep_column": "date"}, "a1"),
        ({"keep": "best", "keep_column": "score"}, "b1"),
        ({"prefer": ("b*",)}, "b0"),
        ({"prefer": ("z*", "b*"), "keep": "best", "keep_column": "score"}, "b1"),
        ({"prefer": ("a*",), "keep": "best", "keep_column": "score"}, "a0"),
    ],
)
def test_the_policy_says_which_copy_stays(tmp_path: Path, named: dict[str, Any], kept: str) -> None:
    text = prose(1)
    dates = ["2024-01-01", "2025-06-01", "2023-01-01", None]
    jsonl(tmp_path / "c" / "a.jsonl", [text, text], date=dates[:2], score=[3, 2.5])
    jsonl(tmp_path / "c" / "b.jsonl", [text + "!!", text], date=dates[2:], score=[1, 4])
    dedupe([tmp_path / "c"], tmp_path / "out", config=DedupeConfig(**named))
    files = (tmp_path / "out" / "kept").iterdir()
    assert [name for file in sorted(files) for name in ids(file)] == [kept]


def test_values_without_an_order_and_a_missing_column_are_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [prose(1), prose(1)], score=[1, "x"])
    for column, message in (("score", "have no order"), ("other", "has the column")):
        config = DedupeConfig(keep="best", keep_column=column)
        with pytest.raises(InputError, match=message):
            dedupe([path], tmp_path / column, config=config)
    with pytest.raises(InputError, match="needs keep_column"):
        parse(DedupeConfig, {"keep": "newest"}, "dedupe")


def test_what_another_corpus_holds_goes_and_that_corpus_stays(tmp_path: Path) -> None:
    theirs = jsonl(tmp_path / "theirs.jsonl", [prose(1), prose(9), prose(9)])
    ours = jsonl(
        tmp_path / "ours.jsonl", [edited(prose(1), 4), prose(2), prose(2), prose(9).upper()]
    )
    for only, kept in ((False, ["ours1"]), (True, ["ours1", "ours2"])):
        out = tmp_path / str(only)
        config = DedupeConfig(against_only=only)
        done = dedupe([ours], out, against=[theirs], config=config)
        assert ids(out / "kept" / "ours.jsonl") == kept
        assert list(done.accounting) == ["ours.jsonl"]
        assert done.counts["read"] == 4
        matched = {
            row["doc_id"]: (row["matched_doc_id"], row["matched_corpus"])
            for row in table(out / "duplicates.parquet")
        }
        assert matched["ours0"] == ("theirs0", "against")
        assert matched["ours3"] == ("theirs1", "against")


def test_annotating_labels_every_document_and_changes_nothing(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [prose(1), prose(2), prose(1)])
    before = path.read_bytes()
    dedupe([path], tmp_path / "out", config=DedupeConfig(annotate=True))
    labels = table(tmp_path / "out" / "labels.parquet")
    assert [row["label"] for row in labels] == ["kept", "kept", "duplicate"]
    assert [row["cluster_id"] is None for row in labels] == [False, True, False]
    assert not (tmp_path / "out" / "kept").exists()
    assert path.read_bytes() == before


def test_annotating_lines_labels_documents_as_kept_cut_or_duplicate(tmp_path: Path) -> None:
    texts = [prose(1, 20), f"{prose(1, 20)}\n{prose(2, 20)}", prose(2, 20), "yes"]
    path = jsonl(tmp_path / "a.jsonl", texts)
    config = DedupeConfig(level="line", annotate=True)
    done = dedupe([path], tmp_path / "out", config=config)
    labels = table(tmp_path / "out" / "labels.parquet")
    assert [tuple(row.values()) for row in labels] == [
        ("a0", "a.jsonl:1", "kept", 0),
        ("a1", "a.jsonl:2", "cut", 1),
        ("a2", "a.jsonl:3", "duplicate", 1),
        ("a3", "a.jsonl:4", "kept", 0),
    ]
    assert (done.counts["kept"], done.counts["duplicate"]) == (3, 1)
    assert "labels.parquet" in done.outputs
    assert not (tmp_path / "out" / "kept").exists()


def test_folders_of_small_files_and_cut_lines_count_as_losses(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for name in ("a/1", "a/2", "a/3", "b/1", "b/2", "b/3"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = prose(int(name[-1]), 30) + "\n" + prose(int(name[-1]) + 9, 30)
        (folder / f"{name}.txt").write_text(text, "utf-8")
    done = dedupe([folder], tmp_path / "out", config=DedupeConfig(near=False))
    assert done.warnings == ["b: 3 of 3 documents are duplicates"]
    half = DedupeConfig(near=False, max_source_loss=0.4)
    warnings = dedupe([folder], tmp_path / "half", config=half).warnings
    assert f"{folder}: 3 of 6 documents are duplicates" in warnings
    (folder / "b" / "4.txt").write_text("A line that stands here alone.", "utf-8")
    lines = dedupe([folder], tmp_path / "lines", config=DedupeConfig(level="line"))
    assert "b: 6 of 7 lines are duplicates" in lines.warnings


def test_increments_are_compared_with_what_was_kept_before(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = jsonl(tmp_path / "first.jsonl", [prose(1), prose(2), prose(1)])
    second = jsonl(tmp_path / "second.jsonl", [edited(prose(2), 5), prose(3), prose(1).upper()])
    third = jsonl(tmp_path / "third.jsonl", [edited(prose(3), 6), prose(4)])
    for path, kept in ((first, ["first0", "first1"]), (second, ["second1"]), (third, ["third1"])):
        out = tmp_path / f"out-{path.stem}"
        dedupe([path], out, signatures=store)
        assert ids(out / "kept" / path.name) == kept
    first.unlink()
    second.unlink()
    rows = table(tmp_path / "out-third" / "duplicates.parquet")
    assert (rows[0]["matched_doc_id"], rows[0]["matched_source"]) == ("second1", "second.jsonl:2")
    shutil.rmtree(tmp_path / "out-third")
    dedupe([third], tmp_path / "out-third", signatures=store)
    assert table(tmp_path / "out-third" / "duplicates.parquet") == rows
    assert len(json.loads((store / "signatures.json").read_text())["runs"]) == 3


def test_signatures_of_other_settings_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    path = jsonl(tmp_path / "a.jsonl", [prose(1), prose(2)])
    dedupe([path], tmp_path / "1", signatures=store)
    with pytest.raises(InputError, match="made with another bands"):
        dedupe([path], tmp_path / "2", signatures=store, config=DedupeConfig(threshold=0.5))
    part = store / "000000" / "000000.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(TamperedError, match="not what an earlier run wrote"):
        dedupe([path], tmp_path / "3", signatures=store)
    with pytest.raises(UsageError, match="no folder of signatures"):
        dedupe([path], tmp_path / "4", signatures=tmp_path)


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [prose(1)])
    for config in (
        DedupeConfig(against_only=True),
        DedupeConfig(level="line", keep="longest"),
        DedupeConfig(level="line", near=True),
        DedupeConfig(level="line", semantic="drop"),
        DedupeConfig(level="paragraph", verify_representative=True),
    ):
        with pytest.raises(UsageError):
            dedupe([path], tmp_path / "out", config=config)


def test_raw_comparison_tells_what_folding_does_not(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", ["One two.", "one two", "One two."])
    for compare, kept in (("folded", 1), ("raw", 2)):
        config = parse(DedupeConfig, {"compare": compare, "near": False}, "dedupe")
        assert dedupe([path], tmp_path / compare, config=config).counts["kept"] == kept


def test_repeated_lines_are_cut_and_documents_of_nothing_else_go(tmp_path: Path) -> None:
    notice = "Subscribe to our newsletter for more stories like this."
    texts = [
        f"First story, long enough.\n{notice}\nIts end is not repeated.",
        f"{notice.upper()}\r\nSecond story, with an é, quite long.\nyes\n",
        notice,
        "yes",
    ]
    path = jsonl(tmp_path / "a.jsonl", texts)
    done = dedupe([path], tmp_path / "out", config=DedupeConfig(level="line"))
    kept = (tmp_path / "out" / "kept" / "a.jsonl").read_text("utf-8").split("\n")
    assert kept[0] == path.read_text("utf-8").split("\n")[0]
    assert json.loads(kept[1])["text"] == "Second story, with an é, quite long.\nyes\n"
    assert [json.loads(line)["id"] for line in kept if line] == ["a0", "a1", "a3"]
    assert (done.counts["cut"], done.counts["duplicate"], done.counts["kept"]) == (2, 1, 3)
    for row in table(tmp_path / "out" / "duplicates.parquet"):
        text = texts[int(row["source"].split(":")[1]) - 1]
        other = texts[int(row["matched_source"].split(":")[1]) - 1]
        assert text[row["start"] : row["end"]].casefold() == notice.casefold()
        assert other[row["matched_start"] : row["matched_end"]] == notice


def test_repeated_paragraphs_are_cut_in_every_format(tmp_path: Path) -> None:
    shared = f"{prose(1, 20)}\n{prose(2, 20)}"
    texts = [f"{prose(n + 10, 20)}\n\n{shared}\n\n{prose(n + 50, 20)}" for n in range(4)]
    folder = tmp_path / "corpus"
    jsonl(folder / "a.jsonl", texts[:1])
    (folder / "b.csv").write_text(f'id,text,n\n1,"{texts[1]}",7\n', "utf-8")
    pq.write_table(pa.table({"content": [texts[2]], "n": [3]}), folder / "c.parquet")
    (folder / "d.txt").write_text(texts[3], "utf-8")
    done = dedupe([folder], tmp_path / "out", config=DedupeConfig(level="paragraph"))
    assert done.counts["cut"] == 3
    kept = tmp_path / "out" / "kept"
    left = [f"{prose(n + 10, 20)}\n\n{prose(n + 50, 20)}" for n in range(4)]
    assert (kept / "a.jsonl").read_bytes() == (folder / "a.jsonl").read_bytes()
    assert (kept / "b.csv").read_text("utf-8") == f'id,text,n\n1,"{left[1]}",7\n'
    assert pq.read_table(kept / "c.parquet").to_pylist() == [{"content": left[2], "n": 3}]
    assert (kept / "d.txt").read_text("utf-8") == left[3]


def units(text: str, paragraphs: bool) -> list[tuple[int, int]]:
    signer = Signer(key_of(bytes(16)), salts_of(0), None)
    found = units_of(column_of(["é\n", text]), signer, paragraphs=paragraphs, least=1)
    chosen = found.texts == 1
    return list(zip(found.starts[chosen].tolist(), found.ends[chosen].tolist(), strict=True))


@settings(deadline=None)
@given(st.text(st.sampled_from("aé字😀b \t.\n\r"), max_size=60))
@example("one\r\ntwo\n\n three\n \nfour five six seven eight\r")
def test_lines_and_paragraphs_stand_where_python_finds_them(text: str) -> None:
    lines: list[tuple[int, int]] = []
    at = 0
    for line in text.split("\n"):
        ended = at + len(line) < len(text)
        lines.append((at, at + len(line) - (ended and line.endswith("\r"))))
        at += len(line) + 1
    assert units(text, False) == [(a, b) for a, b in lines if has_letters(text[a:b])]
    grouped: list[tuple[int, int]] = []
    fresh = True
    for a, b in lines:
        if text[a:b].strip(" \t\r"):
            grouped.append((a, b)) if fresh else grouped.append((grouped.pop()[0], b))
        fresh = not text[a:b].strip(" \t\r")
    assert units(text, True) == [(a, b) for a, b in grouped if has_letters(text[a:b])]


def has_letters(text: str) -> bool:
    return any(character.isalnum() for character in text)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["one", "two", "", " ", "three 字"]), max_size=8), st.data())
def test_cutting_lines_leaves_the_others_whole(lines: list[str], data: st.DataObject) -> None:
    text = "\n".join(lines)
    places, at = [], 0
    for line in lines:
        places.append((at, at + len(line)))
        at += len(line) + 1
    full = [n for n, line in enumerate(lines) if line.strip()]
    gone = data.draw(st.sets(st.sampled_from(full)) if full else st.just(set()))
    left = cut(text, [places[n] for n in sorted(gone)], "line")
    ends = ["\n"] * (len(lines) - 1) + [""]
    whole = [line + end for line, end in zip(lines, ends, strict=False)]
    assert left == "".join(line for n, line in enumerate(whole) if n not in gone)


TOPICS = one_hot("topics", lambda text: len(text.split()[0]) % 8)


def test_the_same_meaning_is_told_apart_from_the_same_text(tmp_path: Path) -> None:
    texts = ["cat sat here", "cat sat here!", "dog barked once more", "elephants", "horse", "mouse"]
    path = jsonl(tmp_path / "a.jsonl", texts)
    for semantic, kept, methods in (
        ("label", 5, ["exact"]),
        ("drop", 3, ["exact", "semantic", "semantic"]),
    ):
        out = tmp_path / semantic
        config = parse(DedupeConfig, {"semantic": semantic, "max_source_loss": 0.4}, "dedupe")
        done = dedupe([path], out, config=config, embedder=TOPICS)
        assert (done.counts["duplicate"], done.counts["semantic"]) == (len(methods), 2)
        books = done.accounting["a.jsonl"]
        assert books.pop("read") == sum(books.values()) == 6
        assert done.warnings == ["a.jsonl: 3 of 6 documents are duplicates"] * (kept == 3)
        assert len(ids(out / "kept" / "a.jsonl")) == done.counts["kept"] == kept
        rows = table(out / "semantic.parquet")
        assert [(row["doc_id"], row["matched_doc_id"]) for row in rows] == [
            ("a2", "a0"),
            ("a5", "a4"),
        ]
        gone = table(out / "duplicates.parquet")
        assert [row["method"] for row in gone] == methods
        assert [(row["doc_id"], row["matched_doc_id"]) for row in gone] == [
            ("a1", "a0"),
            ("a2", "a0"),
            ("a5", "a4"),
        ][: len(gone)]
        assert [row["cluster_id"] is None for row in gone] == [m == "semantic" for m in methods]
    assert gone[1]["reason"] == "cosine 1.000 of topics"
    config = DedupeConfig(semantic="drop", annotate=True)
    dedupe([path], tmp_path / "labels", config=config, embedder=TOPICS)
    labels = [row["label"] for row in table(tmp_path / "labels" / "labels.parquet")]
    assert labels == ["kept", "duplicate", "duplicate", "kept", "kept", "duplicate"]


def test_bad_parquet_rows_are_in_the_books(tmp_path: Path) -> None:
    texts = [prose(1), None, "nul\0here", "", prose(1)]
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), tmp_path / "a.parquet")
    done = dedupe([tmp_path / "a.parquet"], tmp_path / "out")
    assert done.accounting["a.parquet"] == {
        "read": 5,
        "kept": 1,
        "filtered": 0,
        "duplicate": 1,
        "quarantined": 3,
    }
    bad = [
        json.loads(line)
        for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    ]
    assert [row["line"] for row in bad] == [2, 3, 4]
    assert pq.read_table(tmp_path / "out" / "kept" / "a.parquet")["text"].to_pylist() == [prose(1)]
    with pytest.raises(TooManyBadRowsError):
        dedupe([tmp_path / "a.parquet"], tmp_path / "2", config=DedupeConfig(max_bad_rows=2))
