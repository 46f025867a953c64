"""The sample data: rebuilt from its sources, exact truth, disjoint splits."""

from __future__ import annotations

import difflib
import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).resolve().parent.parent / "sample_data"
WORK = "the-adventure-of-the-speckled-band"
KINDS = {"whole", "part", "rewrapped", "quotes_dashes", "light_edit", "ocr"}
MIB = 1 << 20


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    # -S: no site-packages, so the script can use the standard library only.
    command = [sys.executable, "-S", "-B", str(SAMPLE / "make_corpus.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def text_of(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(path).splitlines()]


def documents_of(folder: Path) -> dict[str, tuple[str, str]]:
    """Return the file and the text of each document."""
    found = {}
    for name in ("part-0.jsonl", "part-1.jsonl.gz"):
        for row in rows_of(folder / "corpus" / name):
            found[row["id"]] = (name, row["text"])
    for path in (folder / "corpus" / "texts").glob("*.txt"):
        found[path.stem] = (f"texts/{path.name}", text_of(path))
    return found


def runs_of(*texts: str, size: int = 13) -> set[tuple[str, ...]]:
    found = set()
    for text in texts:
        words = re.findall(r"[^\W_]+", text.casefold())
        found |= {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}
    return found


def check_truth(folder: Path, work: str) -> Counter[str]:
    """Check every truth row and that nothing else is copied; return how many of each kind."""
    documents, whole = documents_of(folder), text_of(folder / "works" / f"{work}.txt")
    truth = rows_of(folder / "ground_truth.jsonl")
    outside = {key: text for key, (_, text) in documents.items()}
    for row in sorted(truth, key=lambda row: -int(row["start"])):
        file, text = documents[row["doc_id"]]
        copy, source = (
            text[row["start"] : row["end"]],
            whole[row["work_start"] : row["work_end"]],
        )
        assert (row["file"], row["work"]) == (file, work)
        assert len(source) >= 200
        assert (copy[0], copy[-1]) == (source[0], source[-1])
        assert copy[0].isalnum()
        assert copy[-1].isalnum() or copy[-1] in ".!?"
        if row["kind"] in {"whole", "part"}:
            assert copy == source
        else:
            assert copy != source
            assert difflib.SequenceMatcher(None, copy, source, autojunk=False).ratio() > 0.9
        rest = outside[row["doc_id"]]
        # A word that the truth cannot hold keeps the two sides from joining into a run.
        outside[row["doc_id"]] = rest[: row["start"]] + " \x00cut0cut " + rest[row["end"] :]
    runs = runs_of(whole)
    assert [key for key, text in outside.items() if runs & runs_of(text)] == []
    return Counter(row["kind"] for row in truth)


def test_a_rebuild_equals_what_is_shipped() -> None:
    done = run_script("--check")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_a_changed_or_left_over_file_is_reported(tmp_path: Path) -> None:
    assert run_script("--out", str(tmp_path)).returncode == 0
    (tmp_path / "teach.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "corpus" / "texts" / "old.txt").write_text("old\n", encoding="utf-8")
    done = run_script("--check", "--out", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "corpus/texts/old.txt: not part of the build",
        "teach.jsonl: differs from a rebuild",
    ]


def test_an_unknown_work_is_one_line() -> None:
    done = run_script("--work", "no-such-work")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_the_truth_of_the_shipped_corpus_is_exact_and_complete() -> None:
    kinds = check_truth(SAMPLE, WORK)
    assert set(kinds) == KINDS
    assert min(kinds.values()) >= 8


@pytest.mark.parametrize(
    ("work", "seed"), [("genesis", "2"), ("the-canterville-ghost", "3"), (WORK, "7")]
)
def test_another_work_and_seed_have_exact_truth(work: str, seed: str, tmp_path: Path) -> None:
    assert run_script("--work", work, "--seed", seed, "--out", str(tmp_path)).returncode == 0
    assert set(check_truth(tmp_path, work)) == KINDS
    assert len(documents_of(tmp_path)) == (300 if work == WORK else 120)


def test_the_corpus_is_small_and_every_row_states_its_licence() -> None:
    documents = documents_of(SAMPLE)
    assert len(documents) == 300
    assert sum(len(text.encode()) for _, text in documents.values()) <= 300_000
    shipped = [path for path in SAMPLE.rglob("*") if path.is_file()]
    assert [path for path in shipped if path.stat().st_size > MIB] == []
    sources = [path.stat().st_size for path in (SAMPLE / "sources").iterdir()]
    assert sum(sources) <= 1.5 * MIB
    for name in ("part-0.jsonl", "part-1.jsonl.gz"):
        for row in rows_of(SAMPLE / "corpus" / name):
            assert list(row) == ["id", "text", "source", "license"]
            assert all(row.values())


def test_the_control_is_in_no_other_file() -> None:
    control = runs_of(text_of(SAMPLE / "holdout" / "a-scandal-in-bohemia.txt"))
    texts = [text for _, text in documents_of(SAMPLE).values()]
    assert not control & runs_of(*texts)


def test_taught_passages_are_apart_and_in_the_work_and_in_the_corpus() -> None:
    whole = text_of(SAMPLE / "works" / f"{WORK}.txt")
    rows = rows_of(SAMPLE / "teach.jsonl")
    places = [(whole.index(row["text"]), len(row["text"])) for row in rows]
    assert len(rows) == 6
    assert all(row["work"] == WORK and 380 <= len(row["text"]) <= 480 for row in rows)
    assert all(at + size <= after for (at, size), (after, _) in pairwise(places))
    truth = rows_of(SAMPLE / "ground_truth.jsonl")
    for at, size in places:
        kinds = [row["kind"] for row in truth if at <= row["work_start"] < at + size]
        assert len(kinds) in {3, 4}
        assert len(set(kinds)) == len(kinds)


def test_retain_rows_share_no_run_with_the_work_the_control_or_the_evaluation() -> None:
    barred = runs_of(
        text_of(SAMPLE / "works" / f"{WORK}.txt"),
        text_of(SAMPLE / "holdout" / "a-scandal-in-bohemia.txt"),
    )
    evaluation = runs_of(*(row["text"] for row in rows_of(SAMPLE / "general_eval.jsonl")))
    assert not evaluation & barred
    for name, count in (("neighbour", 200), ("general", 500), ("qa", 500)):
        rows = rows_of(SAMPLE / "retain" / f"{name}.jsonl")
        texts = [row.get("text") or f"{row['prompt']}\n{row['answer']}" for row in rows]
        assert len({row["id"] for row in rows}) == len(rows) == count
        assert not runs_of(*texts) & (barred | evaluation)
