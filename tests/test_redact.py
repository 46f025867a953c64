from __future__ import annotations

import errno
import io
import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import run
from test_files import Failing

from forgetkit.decisions import Decision, record
from forgetkit.errors import InputError, StorageError, UsageError
from forgetkit.files import sha256_bytes, sha256_tree
from forgetkit.mine import MineConfig, mine
from forgetkit.redact import RedactConfig, RedactResult, preview, redact
from forgetkit.redact.edits import applied, cuts, merged
from forgetkit.redact.lines import edited_object
from forgetkit.spans import Span, write_spans
from forgetkit_cli.screen import Output

NOW = "2026-01-01T00:00:00+00:00"
SECRET = "the brass lock behind the barrel"
ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "Nothing to see here."},
    {"id": "b", "n": 1.50, "text": f"First part. Now {SECRET}, they said.\nLast part."},
    {"id": "c", "prompt": "Where is it?", "answer": SECRET},
    {"id": "d", "text": SECRET},
    {"id": "e", "text": "Also nothing, é."},
]
TEXTS = {
    "one.txt": f"Before.\n\n{SECRET}\n\nAfter.\n",
    "two.txt": SECRET + "\n",
    "three.txt": "x\n",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Write JSON lines, with a blank line and one that is broken, and text files."""
    folder = tmp_path / "corpus"
    (folder / "texts").mkdir(parents=True)
    lines = [json.dumps(row) for row in ROWS]
    lines[1:1] = ["", '{"text": "cut off']
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, text in TEXTS.items():
        (folder / "texts" / name).write_text(text, encoding="utf-8")
    return folder


def span(source: str, doc_id: str, text: str, start: int, end: int, field: str = "text") -> Span:
    return Span(
        doc_id, source, field, start, end, "verbatim", "copy", 1.0, text[start:end], work_id="w"
    )


def spans_of_corpus() -> list[Span]:
    found = []
    for number, row in zip((1, 4, 5, 6, 7), ROWS, strict=True):
        for field in ("text", "answer"):
            text = row.get(field, "")
            at = text.find(SECRET)
            if at >= 0:
                end = at + len(SECRET)
                found.append(span(f"rows.jsonl:{number}", row["id"], text, at, end, field))
    for name, text in TEXTS.items():
        at = text.find(SECRET)
        if at >= 0:
            place, end = f"texts/{name}:1", at + len(SECRET)
            found.append(span(place, Path(name).stem, text, at, end))
    return found


@pytest.fixture
def spans(tmp_path: Path) -> Path:
    write_spans(tmp_path / "spans.parquet", spans_of_corpus())
    return tmp_path / "spans.parquet"


def done(corpus: Path, spans: Path, out: Path, **settings: Any) -> RedactResult:
    return redact([corpus], spans, out, accept_all=True, config=RedactConfig(**settings))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")


def test_drop_leaves_out_documents_and_copies_every_other_byte(
    corpus: Path, spans: Path, tmp_path: Path
) -> None:
    result = done(corpus, spans, tmp_path / "out")
    before = lines(corpus / "rows.jsonl")
    assert lines(tmp_path / "out/corpus/rows.jsonl") == [*before[:3], *before[6:]]
    texts = tmp_path / "out" / "corpus" / "texts"
    assert {path.name: path.read_text() for path in texts.iterdir()} == {"three.txt": "x\n"}
    assert result.counts == {
        "documents": 9, "kept": 4, "changed": 0, "dropped": 5, "emptied": 0,
        "spans": 5, "files": 4, "files_changed": 3,
    }  # fmt: skip


def test_cut_leaves_readable_text_and_drops_what_it_empties(
    corpus: Path, spans: Path, tmp_path: Path
) -> None:
    result = done(corpus, spans, tmp_path / "out", mode="cut")
    before, after = lines(corpus / "rows.jsonl"), lines(tmp_path / "out/corpus/rows.jsonl")
    assert after == [*before[:3], before[3].replace(f" {SECRET}", ""), *before[6:]]
    texts = tmp_path / "out" / "corpus" / "texts"
    assert (texts / "one.txt").read_text() == "Before.\n\nAfter.\n"
    assert not (texts / "two.txt").exists()
    assert (result.counts["changed"], result.counts["emptied"]) == (2, 3)


def test_mask_keeps_every_document(corpus: Path, spans: Path, tmp_path: Path) -> None:
    result = done(corpus, spans, tmp_path / "out", mode="mask", placeholder='["gone"]')
    mask = json.dumps('["gone"]')[1:-1]
    expected = (corpus / "rows.jsonl").read_text(encoding="utf-8").replace(SECRET, mask)
    assert (tmp_path / "out/corpus/rows.jsonl").read_text(encoding="utf-8") == expected
    assert (tmp_path / "out/corpus/texts/two.txt").read_text() == '["gone"]\n'
    assert (result.counts["changed"], result.counts["kept"]) == (5, 4)


def test_tombstones_say_what_went_and_never_its_text(
    corpus: Path, spans: Path, tmp_path: Path
) -> None:
    done(corpus, spans, tmp_path / "out", mode="cut")
    path = tmp_path / "out" / "tombstones.parquet"
    rows = pq.read_table(path).to_pylist()
    assert [(row["file"], row["row"], row["outcome"]) for row in rows] == [
        ("rows.jsonl", 4, "cut"),
        ("rows.jsonl", 5, "emptied"),
        ("rows.jsonl", 6, "emptied"),
        ("texts/one.txt", 1, "cut"),
        ("texts/two.txt", 1, "emptied"),
    ]
    assert {row["sha256"] for row in rows} == {sha256_bytes(SECRET.encode())}
    assert (rows[1]["doc_id"], rows[1]["field"], rows[1]["mode"]) == ("c", "answer", "cut")
    for file in (path, tmp_path / "out" / "summary.json"):
        assert b"brass" not in file.read_bytes()


def test_a_second_run_changes_nothing(corpus: Path, spans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = done(corpus, spans, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = done(corpus, spans, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert again.counts == first.counts
    with pytest.raises(UsageError, match="holds something else"):
        done(corpus, spans, out, mode="mask")


@pytest.mark.parametrize("mode", ["drop", "cut", "mask"])
def test_mining_the_result_finds_nothing_and_redacting_it_changes_no_byte(
    tmp_path: Path, mode: str
) -> None:
    rng = random.Random(1)
    words = [f"{a}{b}" for a in "bcdfgklm" for b in ("ara", "ello", "undi", "ist")]
    prose = [" ".join(rng.choices(words, k=80)) + "." for _ in range(6)]
    (tmp_path / "work.txt").write_text("\n\n".join(prose[:3]), encoding="utf-8")
    rows = [
        f"{prose[3]}\n{prose[0]}\n{prose[4]} {prose[1]}",
        prose[5],
        prose[2].upper(),
        prose[1].replace(" ", "\n") + prose[2],
    ]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    config = MineConfig(detectors=("verbatim",))

    def mined(path: Path, name: str) -> Path:
        mine([path], tmp_path / name, works=[tmp_path / "work.txt"], config=config)
        return tmp_path / name / "spans.parquet"

    found = mined(corpus, "mined")
    assert pq.read_metadata(found).num_rows >= 4
    done(corpus, found, tmp_path / "out", mode=mode)
    cleaned = tmp_path / "out" / "corpus" / "corpus.jsonl"
    assert prose[5] in cleaned.read_text()
    nothing = mined(cleaned, "again")
    assert pq.read_metadata(nothing).num_rows == 0
    result = done(cleaned, nothing, tmp_path / "out2", mode=mode)
    assert (tmp_path / "out2/corpus/corpus.jsonl").read_bytes() == cleaned.read_bytes()
    assert result.counts["kept"] == result.counts["documents"]
    assert result.warnings == ["there was no span to remove"]


def test_only_accepted_spans_go(corpus: Path, spans: Path, tmp_path: Path) -> None:
    first, second, *_ = spans_of_corpus()
    decisions = tmp_path / "decisions.sqlite"
    record(decisions, [Decision(first.span_id, True, "ana", "a copy", NOW)])
    record(decisions, [Decision(second.span_id, False, "ana", "a quotation", NOW)])
    result = redact([corpus], spans, tmp_path / "out", decisions=decisions)
    assert (result.counts["dropped"], result.counts["spans"]) == (1, 1)
    rest = redact([corpus], spans, tmp_path / "rest", decisions=decisions, accept_all=True)
    assert rest.counts["spans"] == 4  # undecided ones too, the rejected one not
    with pytest.raises(InputError, match="no span is accepted"):
        redact([corpus], spans, tmp_path / "none")


def test_a_stale_span_is_refused_and_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    good = spans_of_corpus()
    moved = span("rows.jsonl:1", "a", "!" + ROWS[0]["text"], 2, 9)
    other = span("rows.jsonl:1", "z", ROWS[0]["text"], 0, 7)
    beyond = span("rows.jsonl:70", "a", ROWS[0]["text"], 0, 7)
    blank = span("rows.jsonl:2", "a", ROWS[0]["text"], 0, 7)
    broken = span("rows.jsonl:3", "a", ROWS[0]["text"], 0, 7)
    for number, stale in enumerate((moved, other, beyond, blank, broken)):
        write_spans(tmp_path / "stale.parquet", [*good, stale])
        with pytest.raises(InputError, match=f"{stale.source}: the corpus is not what it was"):
            done(corpus, tmp_path / "stale.parquet", tmp_path / f"out{number}")
        left = [p for p in (tmp_path / f"out{number}").rglob("*") if "started" not in p.name]
        assert left == []


def test_spans_of_another_corpus_are_refused(corpus: Path, spans: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="accepted spans are in a file that is not here"):
        done(corpus / "texts", spans, tmp_path / "out")
    with pytest.raises(UsageError, match="lies inside the corpus"):
        done(corpus, spans, corpus / "texts" / "out")


def test_the_result_is_the_same_whichever_operation_failed_before(
    corpus: Path, spans: Path, tmp_path: Path
) -> None:
    done(corpus, spans, tmp_path / "whole", mode="cut")
    expected = sha256_tree(tmp_path / "whole")
    failures = 0
    for nth in range(1, 400):
        failing, out = Failing(nth, errno.ENOSPC), tmp_path / f"out{nth}"
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "fsync", "chmod", "replace", "mkdir"):
                patch.setattr(os, name, failing.wrap(getattr(os, name)))
            patch.setattr(io, "open", failing.wrap(io.open))
            try:
                done(corpus, spans, out, mode="cut")
            except (StorageError, InputError, OSError):
                failures += 1
        if failing.seen < nth:
            break
        if (out / "corpus").exists():  # all of it, or nothing
            found = sha256_tree(out / "corpus")
            assert found == {
                name.removeprefix("corpus/"): digest
                for name, digest in expected.items()
                if name.startswith("corpus/")
            }
        done(corpus, spans, out, mode="cut")
        assert sha256_tree(out) == expected
    assert failures >= 20


KILLED = """
import os, sys
from pathlib import Path
from forgetkit.redact import RedactConfig, redact
corpus, spans, out = map(Path, sys.argv[1:4])
left, replace = int(sys.argv[4]), os.replace
def counted(*values):
    global left
    left -= 1
    if not left:
        os._exit(9)
    replace(*values)
os.replace = counted
redact([corpus], spans, out, accept_all=True, config=RedactConfig(mode="cut"))
"""


@pytest.mark.parametrize("nth", [2, 5, 8, 12, 13])
def test_a_killed_run_goes_on_and_leaves_nothing_behind(
    corpus: Path, spans: Path, tmp_path: Path, nth: int
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, *map(str, (corpus, spans, out, nth))]
    assert subprocess.run(command, check=False, timeout=120).returncode == 9
    assert not (out / "summary.json").exists()
    done(corpus, spans, out, mode="cut")
    done(corpus, spans, tmp_path / "whole", mode="cut")
    assert sha256_tree(out) == sha256_tree(tmp_path / "whole")


def test_workers_change_no_byte(corpus: Path, spans: Path, tmp_path: Path) -> None:
    done(corpus, spans, tmp_path / "one")
    redact([corpus], spans, tmp_path / "many", accept_all=True, workers=3)
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "many")


def test_overlapping_spans_are_merged(tmp_path: Path) -> None:
    text = "one two three four five"
    (tmp_path / "c.jsonl").write_text(json.dumps({"id": "x", "text": text}) + "\n")
    made = [span("c.jsonl:1", "x", text, *place) for place in ((4, 13), (8, 18), (8, 10))]
    write_spans(tmp_path / "s.parquet", made)
    result = done(tmp_path / "c.jsonl", tmp_path / "s.parquet", tmp_path / "out", mode="mask")
    changed = json.loads((tmp_path / "out/corpus/c.jsonl").read_text())
    assert changed == {"id": "x", "text": "one [removed] five"}
    assert (result.counts["changed"], result.counts["spans"]) == (1, 3)


def test_files_keep_their_mode(corpus: Path, spans: Path, tmp_path: Path) -> None:
    (corpus / "rows.jsonl").chmod(0o600)
    done(corpus, spans, tmp_path / "out")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "out").rglob("*.*")}
    assert (modes["rows.jsonl"], modes["three.txt"]) == (0o600, 0o644)


def test_the_command_shows_its_plan_then_one_object(
    corpus: Path, spans: Path, tmp_path: Path
) -> None:
    command = ("redact", corpus, "--spans", spans, "--accept-all", "--out", tmp_path / "out")
    planned = Output.model_validate_json(run(*command, "--dry-run", "--json").stdout)
    assert planned.counts["documents_to_change"] == 5
    assert planned.counts == preview([corpus], spans, accept_all=True)
    assert not (tmp_path / "out").exists()
    finished = run(*command, "--mode", "mask", "--json")
    assert finished.returncode == 0, finished.stderr
    output = Output.model_validate_json(finished.stdout)
    assert (output.command, output.counts["changed"]) == ("redact", 5)
    assert all(Path(path).exists() for path in output.outputs.values())
    assert run(*command, "--mode", "burn").returncode == 3
    help_text = run("redact", "--help").stdout
    assert help_text.count("forgetkit redact") >= 2


@pytest.mark.parametrize(
    ("text", "hole", "left"),
    [
        ("One. Two. Three.", "Two.", "One. Three."),
        ("One.\n\nTwo. Three.", "Two.", "One.\n\nThree."),
        ("One. Two.\nThree.", "Two.", "One.\nThree."),
        ("  Two. Three.", "Two.", "Three."),
        ("One. Two.\n", "Two.", "One.\n"),
        ("One. Two.", "Two.", "One."),
        ("One two, three.", "two", "One, three."),
        ("unbelievable", "believ", "un able"),
        ("前後。", "前", "後。"),
        ("左中右", "中", "左右"),
        ("(Two) three", "Two", "() three"),
        ("Two.", "Two.", ""),
    ],
)
def test_a_cut_joins_what_is_left(text: str, hole: str, left: str) -> None:
    start = text.index(hole)
    assert applied(text, cuts(text, [(start, start + len(hole))])) == left


RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=4)


@given(st.text(min_size=1, max_size=30), RANGES)
def test_what_a_cut_leaves_stood_outside_it(text: str, places: list[tuple[int, int]]) -> None:
    ranges = [(min(a, len(text) - 1), min(a + n, len(text))) for a, n in places]
    gone = {at for start, end in merged(ranges) for at in range(start, end)}
    kept = [c for at, c in enumerate(text) if at not in gone and not c.isspace()]
    assert [c for c in applied(text, cuts(text, ranges)) if not c.isspace()] == kept


@given(st.text(min_size=1, max_size=30), RANGES, st.booleans(), st.text(max_size=5))
def test_an_edit_in_json_is_the_edit_of_its_text(
    text: str, places: list[tuple[int, int]], ascii_only: bool, instead: str
) -> None:
    ranges = merged((min(a, len(text) - 1), min(a + n, len(text))) for a, n in places)
    edits = [(start, end, instead) for start, end in ranges]
    line = json.dumps({"k\"'": [1, {"text": 2}], "text": text}, ensure_ascii=ascii_only)
    changed = edited_object(line, {"text": edits})
    assert json.loads(changed)["text"] == applied(text, edits)
    assert changed.startswith(line[: line.rindex('"text": ')])
