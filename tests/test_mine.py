from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stand_ins import counting_words

from forgetkit.corpus import Document, DocumentBatch, Work
from forgetkit.errors import InputError, TooManyBadRowsError, UsageError
from forgetkit.files import sha256_tree
from forgetkit.mine import MineConfig, MineResult, mine
from forgetkit.mine.detector import Sought, sentences, windows
from forgetkit.mine.harm import Harm
from forgetkit.mine.indexing import index_works
from forgetkit.mine.semantic import Semantic
from forgetkit.progress import Silent
from forgetkit.spans import Span, read_spans, write_spans

SAMPLE = Path(__file__).parent.parent / "sample_data"
VERBATIM = MineConfig(detectors=("verbatim",))


class Recorder(Silent):
    """Remember the stages."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []

    def stage(self, name: str, total: int | None) -> None:
        self.stages.append((name, total))


class WordClassifier:
    """Find the word `bad` toxic, the word `how` a harmful request, `sure` a harmful answer."""

    name = "words"
    categories = ("toxicity", "harmful_request", "harmful_answer")

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        words = ("bad", "how", "sure")
        return np.array([[word in text.lower() for word in words] for text in texts], np.float32)


def measured(result: MineResult, truth_file: Path) -> tuple[dict[str, float], float, int]:
    """Return recall by kind, precision, and the largest error of a boundary, in code points."""
    truth = [json.loads(line) for line in truth_file.read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[tuple[int, int, int, int]]] = {}
    for span in result.spans:
        place = (span.start, span.end, span.work_start or 0, span.work_end or 0)
        found.setdefault(span.doc_id, []).append(place)
    hits: dict[str, list[bool]] = {}
    worst = 0
    for row in truth:
        near = [
            p for p in found.get(row["doc_id"], []) if p[0] < row["end"] and row["start"] < p[1]
        ]
        covered = sum(min(p[1], row["end"]) - max(p[0], row["start"]) for p in near)
        hits.setdefault(row["kind"], []).append(covered >= 0.9 * (row["end"] - row["start"]))
        wanted = [row[name] for name in ("start", "end", "work_start", "work_end")]
        for place in near:
            worst = max(worst, *(abs(a - b) for a, b in zip(place, wanted, strict=True)))
    right = [
        any(
            row["doc_id"] == span.doc_id
            and row["work"] == span.work_id
            and 2 * (min(span.end, row["end"]) - max(span.start, row["start"]))
            >= span.end - span.start
            for row in truth
        )
        for span in result.spans
    ]
    recall = {kind: sum(found) / len(found) for kind, found in hits.items()}
    return recall, sum(right) / len(right), worst


def copied(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_every_copy_of_the_sample_work_is_found_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = mine([SAMPLE / "corpus"], out, works=[SAMPLE / "works"], config=VERBATIM)
    recall, precision, worst = measured(result, SAMPLE / "ground_truth.jsonl")
    assert recall == dict.fromkeys(recall, 1.0)
    assert set(recall) == {"whole", "part", "rewrapped", "quotes_dashes", "light_edit", "ocr"}
    assert precision == 1.0
    assert worst <= 5
    assert result.missing_works == []
    work = next((SAMPLE / "works").glob("*.txt")).read_text(encoding="utf-8")
    exact = [span for span in result.spans if span.edit_class == "verbatim"]
    assert exact
    assert all(span.text == work[span.work_start : span.work_end] for span in exact)


@pytest.mark.parametrize(("work", "seed"), [("genesis", 2), ("", 3)])
def test_the_same_holds_for_another_work_and_another_seed(
    tmp_path: Path, work: str, seed: int
) -> None:
    script = [sys.executable, str(SAMPLE / "make_corpus.py"), "--seed", str(seed)]
    where = ["--out", str(tmp_path / "second")] + (["--work", work] if work else [])
    subprocess.run([*script, *where], check=True, capture_output=True)
    second = tmp_path / "second"
    out = tmp_path / "out"
    result = mine([second / "corpus"], out, works=[second / "works"], config=VERBATIM)
    recall, precision, worst = measured(result, second / "ground_truth.jsonl")
    assert min(recall.values()) >= 0.98
    assert precision >= 0.98
    assert worst <= 10


def test_a_run_is_the_same_for_any_order_and_hash_seed(tmp_path: Path) -> None:
    parts = sorted(p for p in (SAMPLE / "corpus").iterdir())
    script = (
        "import sys; from pathlib import Path; from forgetkit.mine import *\n"
        "paths = [Path(p) for p in sys.argv[3:]]\n"
        "mine(paths, Path(sys.argv[1]), works=[Path(sys.argv[2])],"
        " config=MineConfig(detectors=('verbatim', 'harm'), harm_head=False))"
    )
    outputs = []
    for number, order in enumerate([parts, parts[::-1]]):
        out = tmp_path / str(number)
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "PYTHONPATH": str(Path.cwd())}
        arguments = [str(out), str(SAMPLE / "works"), *map(str, order)]
        command = [sys.executable, "-c", script, *arguments]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        outputs.append(sha256_tree(out))
    assert outputs[0] == outputs[1]
    assert "spans.parquet" in outputs[0]


def test_a_broken_line_is_quarantined_and_counted(tmp_path: Path) -> None:
    corpus = copied(tmp_path, "a.jsonl", '{"text": "Fine."}\n{"text": \n')
    work = copied(tmp_path, "works/work.txt", "Something else entirely, and long enough.")
    result = mine([corpus], tmp_path / "out", works=[work], config=VERBATIM)
    books = {"read": 2, "kept": 1, "filtered": 0, "duplicate": 0, "quarantined": 1}
    assert result.accounting == {"a.jsonl": books}
    assert result.missing_works == ["work"]
    assert "work 'work' is nowhere in the corpus" in result.warnings
    (row,) = (tmp_path / "out" / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["offset"] == 18


def test_too_many_bad_rows_leave_the_quarantine_and_no_result(tmp_path: Path) -> None:
    corpus = copied(tmp_path, "a.jsonl", '{"text": "Fine."}\nbroken\n')
    work = copied(tmp_path, "works/work.txt", "Something else.")
    config = MineConfig(detectors=("verbatim",), max_bad_rows=0)
    with pytest.raises(TooManyBadRowsError):
        mine([corpus], tmp_path / "out", works=[work], config=config)
    assert (tmp_path / "out" / "quarantine.jsonl").read_text(encoding="utf-8").count("\n") == 1
    assert not (tmp_path / "out" / "spans.parquet").exists()


def test_bad_input_is_named_in_one_line(tmp_path: Path) -> None:
    corpus = copied(tmp_path, "a.jsonl", '{"text": "Fine."}\n')
    empty = copied(tmp_path, "empty.jsonl", "")
    work = copied(tmp_path, "works/work.txt", "Something else.")
    with pytest.raises(InputError, match="no such file"):
        mine([tmp_path / "none"], tmp_path / "1", works=[work], config=VERBATIM)
    with pytest.raises(InputError, match="the corpus is empty"):
        mine([empty], tmp_path / "2", works=[work], config=VERBATIM)
    with pytest.raises(UsageError, match="needs works"):
        mine([corpus], tmp_path / "3", config=VERBATIM)
    with pytest.raises(UsageError, match="Did you mean 'verbatim'"):
        mine([corpus], tmp_path / "4", config=MineConfig(detectors=("verbatm",)))
    assert not (tmp_path / "4").exists()


def test_the_same_run_again_reads_its_result_and_another_is_refused(tmp_path: Path) -> None:
    corpus = copied(tmp_path, "a.jsonl", '{"text": "Fine."}\n')
    work = copied(tmp_path, "works/work.txt", "Something else.")
    out = tmp_path / "out"
    first = mine([corpus], out, works=[work], config=VERBATIM)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again = mine([corpus], out, works=[work], config=VERBATIM)
    assert (again.spans, again.counts) == (first.spans, first.counts)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    with pytest.raises(UsageError, match="holds something else"):
        mine([corpus], out, works=[work], config=MineConfig(detectors=("verbatim",), min_chars=50))


def test_windows_are_whole_sentences_with_exact_places() -> None:
    text = 'He came. "She went!" he said.\n\nThen 3.5 hours of rain. ' + "x" * 90
    assert [text[s.start : s.end] for s in sentences(text)][:3] == [
        "He came.",
        '"She went!"',
        "he said.",
    ]
    for overlap in (False, True):
        found = windows(text, 40, overlap=overlap)
        assert all(0 < w.end - w.start <= 40 for w in found)
        assert found[-1].end == len(text)
    assert windows("", 40) == []


def semantic(sought: Sought, documents: list[Document], **named: Any) -> tuple[list[Span], Any]:
    config = MineConfig(detectors=("semantic",), semantic_window=60, **named)
    detector = Semantic(sought, config, embedder=counting_words(512))
    found = detector.look(DocumentBatch.of(documents))
    spans = found.spans + detector.finish(found.candidates, Recorder())
    return spans, detector.report()


def test_close_windows_become_one_span_with_its_place_in_the_work() -> None:
    work = Work(
        "w",
        "w",
        "Alphabet betatron gammaray deltoid epsilon zetas. "
        "Once twofold threefold fourfold fivefold.",
    )
    before = "Unrelated words stand here before the part that counts. "
    first = "zetas alphabet betatron gammaray deltoid epsilon."
    text = f"{before}{first} fivefold fourfold threefold twofold once."
    spans, report = semantic(Sought((work,)), [Document("d", "a:1", text)])
    (span,) = spans
    assert span.text == text[len(before) :]
    assert (span.work_id, span.category, span.detector) == ("w", "paraphrase", "semantic")
    assert (report["windows_read"], report["windows_never_read"]) == (3, 0)
    assert report["estimated_recall"] == 1.0


def test_windows_beyond_the_cap_are_counted() -> None:
    documents = [
        Document(str(n), f"a:{n}", "A sentence of some fifty characters stands right here. " * 3)
        for n in range(4)
    ]
    _, report = semantic(Sought(seeds=("a seed",)), documents, max_windows=5)
    assert (report["windows_read"], report["windows_never_read"]) == (5, 7)
    assert report["recall_low"] < 1.0


def harm(document: Document, **named: Any) -> list[tuple[str, str, str]]:
    detector = Harm(Sought(), MineConfig(**named), classifier=WordClassifier())
    found = detector.look(DocumentBatch.of([document]))
    spans = found.spans + detector.finish(found.candidates, Silent())
    return [(span.field, span.category, span.text) for span in spans]


def test_a_harmful_pair_gives_its_whole_answer_else_its_prompt() -> None:
    both = Document("d", "a:1", prompt="How?", answer="Sure. Like this.")
    assert harm(both) == [("answer", "harmful_answer", "Sure. Like this.")]
    asked = Document("d", "a:1", prompt="How?", answer="No.")
    assert harm(asked) == [("prompt", "harmful_request", "How?")]
    assert harm(asked, harm_categories=("harmful_answer",)) == []
    assert harm(Document("d", "a:1", prompt="Hello?", answer="No.")) == []


def test_harmful_windows_of_a_text_are_joined() -> None:
    text = "Good words. " * 5 + "Bad words. " * 8 + "Good words. " * 5
    (found,) = harm(Document("d", "a:1", text=text), harm_window=50)
    assert found[1] == "toxicity"
    assert found[2].count("Bad") == 8


def test_an_unknown_harm_category_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown category 'toxic'"):
        harm(Document("d", "a:1", text="x"), harm_categories=("toxic",))


def test_copies_that_a_policy_drops_are_counted(tmp_path: Path) -> None:
    words = (SAMPLE / "works").glob("*.txt").__next__().read_text("utf-8").split()
    shared, own = " ".join(words[300:360]), " ".join(words[900:960])
    (tmp_path / "works").mkdir()
    for name in ("one", "two", "three"):
        beside = " ".join(words[1000 + 100 * len(name) : 1080 + 100 * len(name)])
        (tmp_path / "works" / f"{name}.txt").write_text(f"{shared}\n\n{beside}\n", "utf-8")
    with (tmp_path / "works" / "one.txt").open("a", encoding="utf-8") as stream:
        stream.write(own)
    (tmp_path / "free").mkdir()
    (tmp_path / "free" / "licence.txt").write_text(own, "utf-8")
    index_works([tmp_path / "free"], tmp_path / "free.idx")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": f"{shared} No. {own}"}), "utf-8")
    common = {"dropped_in_many_works": 3}
    for named, counts in (
        ({}, {}),
        ({"max_works": 2}, common),
        ({"ignore": str(tmp_path / "free.idx")}, {"dropped_as_ignored": 1}),
        (
            {"max_works": 2, "ignore": str(tmp_path / "free.idx")},
            common | {"dropped_as_ignored": 1},
        ),
    ):
        config = VERBATIM.model_validate({**VERBATIM.model_dump(), **named})
        out = tmp_path / "-".join(["out", *named])
        found = mine([tmp_path / "a.jsonl"], out, works=[tmp_path / "works"], config=config)
        assert found.reports["verbatim"] == counts
        assert found.counts["verbatim"] == 4 - sum(counts.values())


def test_works_that_share_a_stretch_are_counted_over_all_indexes(tmp_path: Path) -> None:
    words = next((SAMPLE / "works").glob("*.txt")).read_text("utf-8").split()
    shared = " ".join(words[300:360])
    paths = []
    for name in ("one", "two", "three"):
        text = f"{shared}\n\n{' '.join(words[1000 + 100 * len(name) :][:80])}\n"
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
        paths.append(tmp_path / f"{name}.idx")
        index_works([tmp_path / f"{name}.txt"], paths[-1])
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": f"Heard: {shared}"}), "utf-8")
    for most, counts in ((2, [0, 3]), (3, [3, 0])):
        config = VERBATIM.model_copy(update={"max_works": most})
        found = mine([tmp_path / "a.jsonl"], tmp_path / str(most), works=paths, config=config)
        dropped = found.reports["verbatim"]["dropped_in_many_works"]
        assert [found.counts["verbatim"], dropped] == counts


def test_texts_to_ignore_are_looked_up_with_the_limits_of_the_run(tmp_path: Path) -> None:
    work = next((SAMPLE / "works").glob("*.txt")).read_text("utf-8")
    quoted = " ".join(work.split()[300:309])
    assert len(quoted) < 100
    for name, text in (("work", work), ("free", quoted)):
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
        index_works([tmp_path / f"{name}.txt"], tmp_path / f"{name}.idx")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": f"He said: {quoted}."}), "utf-8")
    config = MineConfig(detectors=("verbatim",), min_chars=30, min_words=5)
    works = [tmp_path / "work.idx"]
    found = mine([tmp_path / "a.jsonl"], tmp_path / "a", works=works, config=config)
    assert found.counts == {"verbatim": 1}
    config = config.model_copy(update={"ignore": (str(tmp_path / "free.idx"),)})
    found = mine([tmp_path / "a.jsonl"], tmp_path / "b", works=works, config=config)
    assert found.counts == {"verbatim": 0}


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("start", pa.array(["3"]), "column 'start' holds no int64; found string"),
        ("score", pa.array(["high"]), "column 'score' holds no double"),
        ("work_end", pa.array([1.5]), "column 'work_end' holds no int64"),
        ("is_quote", pa.array([1]), "column 'is_quote' holds no bool"),
        ("text", pa.array([b"x"]), "column 'text' holds no string"),
        ("doc_id", pa.array([["x"]]), "column 'doc_id' holds no string"),
        ("end", pa.array([None], pa.int64()), "column 'end' has empty cells"),
    ],
)
def test_spans_of_other_types_are_refused(
    tmp_path: Path, name: str, column: Any, message: str
) -> None:
    span = Span("d", "a:1", "text", 0, 1, "pattern", "c", 1.0, "x")
    write_spans(tmp_path / "spans.parquet", [span])
    table = pq.read_table(tmp_path / "spans.parquet")
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, column), tmp_path / "other.parquet")
    with pytest.raises(InputError, match=message):
        read_spans(tmp_path / "other.parquet")
    wide = table.set_column(3, "field", table.column("field").cast(pa.large_string()))
    narrow = wide.set_column(4, "start", wide.column("start").cast(pa.int32()))
    pq.write_table(narrow, tmp_path / "wide.parquet")
    assert read_spans(tmp_path / "wide.parquet") == [span]


def test_a_second_writing_of_spans_keeps_their_order(tmp_path: Path) -> None:
    rows = [{"text": f"{n} secret words"} for n in range(12)]
    lines = "\n".join(json.dumps(row) for row in rows)
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_text(lines, "utf-8")
    (tmp_path / "p.txt").write_text("secret\n", "utf-8")
    config = MineConfig(detectors=("pattern",), patterns=tmp_path / "p.txt")
    files = [tmp_path / "b.jsonl", tmp_path / "a.jsonl"]
    found = mine(files, tmp_path / "out", config=config)
    write_spans(tmp_path / "again.parquet", found.spans[::-1])
    again = read_spans(tmp_path / "again.parquet")
    assert again == found.spans
    assert [span.source for span in again][1:3] == ["a.jsonl:2", "a.jsonl:3"]
    assert again[10].source == "a.jsonl:11"
    odd = Span("d", "by hand", "text", 0, 1, "pattern", "c", 1.0, "x")
    assert odd.place[:2] == ("by hand", 0)
