"""Detector harm: the student scans everything, a judge reads what is worth it, and it says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetkit.corpus import Document, DocumentBatch
from forgetkit.mine import MineConfig
from forgetkit.mine.cascade import TALLY, Reading, draws, kept, reading, thinned
from forgetkit.mine.cuts import cut, whole
from forgetkit.mine.detector import Sought, windows
from forgetkit.mine.harm import Harm
from forgetkit.progress import Silent
from forgetkit.spans import Span

INSULT = "You stupid worthless idiot, I hate you."
CALM = "The committee met on Tuesday and approved the minutes."


class Counting:
    """Call `idiot` toxic, and remember what was read."""

    name = "counting"
    categories = ("toxicity",)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts += texts
        return np.array([["idiot" in text] for text in texts], np.float32)


def mined(
    documents: list[Document], size: int = 100, classifier: Any = None, **named: Any
) -> tuple[list[Span], dict[str, Any]]:
    detector = Harm(Sought(), MineConfig(detectors=("harm",), **named), classifier)
    found = [
        detector.look(DocumentBatch.of(documents[start : start + size]))
        for start in range(0, len(documents), size)
    ]
    tables = [one.candidates for one in found if one.candidates is not None]
    spans = [span for one in found for span in one.spans]
    spans += detector.finish(pa.concat_tables(tables) if tables else None, Silent())
    return spans, detector.report()


def texts(*values: str) -> list[Document]:
    return [Document(f"d{n}", f"a:{n + 1}", value) for n, value in enumerate(values)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.none() | st.text(alphabet="ab .!?…\"'”’)]\n \t。！？\r\u3000é😀\u2028", max_size=90),
        max_size=4,
    ),
    st.integers(1, 50),
    st.integers(1, 9),
)
def test_compiled_windows_are_those_of_the_plain_cut(
    values: list[str | None], length: int, least: int
) -> None:
    column = pa.array([None, *values], pa.large_string()).slice(1)
    found = cut(column, length, least)
    places = zip(found.row.tolist(), found.start.tolist(), found.end.tolist(), strict=True)
    assert list(places) == [
        (row, window.start, window.end)
        for row, text in enumerate(values)
        for window in windows(text or "", length)
        if window.end - window.start >= least
    ]
    for number, row in enumerate(found.row.tolist()):
        text = values[row] or ""
        assert found.text(number) == text[found.start[number] : found.end[number]]
    assert whole(column).end.tolist() == [len(text) for text in values if text]


def test_the_student_alone_marks_windows_with_exact_offsets() -> None:
    text = f"Café — {CALM} " * 8 + f"\n\n{INSULT}\n\n{INSULT} " + f"{CALM} " * 8
    (span,), report = mined(texts(text), harm_window=60, harm_head=False)
    assert text[span.start : span.end] == span.text
    assert span.text.count("idiot") == 2
    assert (span.category, span.field, span.detector) == ("toxicity", "text", "harm")
    assert report["classifier"] == "bundled"
    assert "pieces_never_judged" not in report


def test_letters_that_look_alike_hide_nothing_from_the_student() -> None:
    hidden = INSULT.replace("i", "\u0456").replace("u", "\u200bu")
    spans, _ = mined(texts(INSULT, hidden), harm_head=False)
    assert [span.text for span in spans] == [INSULT, hidden]
    assert spans[0].score == spans[1].score


def test_a_judge_reads_the_highest_ranked_and_a_sample_of_the_rest() -> None:
    judge = Counting()
    documents = texts(*[CALM.replace("Tuesday", f"day {n}") for n in range(200)], INSULT)
    spans, report = mined(documents, classifier=judge, harm_budget=5, harm_sample=20)
    assert [span.text for span in spans] == [INSULT]
    assert len(judge.texts) == report["pieces_judged"] <= 25
    assert report["pieces_judged"] + report["pieces_never_judged"] == 201
    assert report["student"] == "bundled"
    assert report["recall_low"] < 1.0 == report["estimated_recall"]


def test_what_is_read_does_not_depend_on_how_the_corpus_is_cut_into_batches() -> None:
    documents = texts(*[f"{CALM} Number {n} {'idiot' if n % 7 == 0 else ''}." for n in range(120)])
    read = []
    for size in (120, 30, 7):
        judge = Counting()
        spans, report = mined(documents, size, judge, harm_budget=10, harm_sample=15)
        read.append((sorted(judge.texts), [span.span_id for span in spans], report))
    assert read[0] == read[1] == read[2]


def test_nothing_is_estimated_where_everything_was_read_or_nothing_of_the_rest() -> None:
    _, everything = mined(texts(CALM, INSULT), classifier=Counting())
    assert everything["pieces_never_judged"] == 0
    assert everything["estimated_recall"] == everything["recall_low"] == 1.0
    _, nothing = mined(
        texts(*[CALM] * 3, INSULT), classifier=Counting(), harm_budget=1, harm_sample=0
    )
    assert nothing["estimated_recall"] == "unknown: nothing of the rest was read"
    assert nothing["recall_low"] == 0.0


def test_an_estimate_grows_by_what_the_sample_missed() -> None:
    plan = Reading(np.arange(10), np.arange(10, 110), 1000)
    hits, sample = np.ones(10, bool), np.arange(100) < 2
    recall = plan.estimate(hits, sample)
    assert plan.never_read == 900
    assert recall.found == 12
    assert recall.value is not None
    assert recall.value == pytest.approx(12 / (12 + 0.02 * 900))
    assert recall.low < recall.value < recall.high


def test_draws_are_uniform_and_a_batch_keeps_the_best_and_the_lucky() -> None:
    rows = np.arange(20_000)
    draw = draws("file", rows, rows * 0)
    assert abs(draw.mean() - 0.5) < 0.01
    assert len(np.unique(draw)) == len(draw)
    assert not np.array_equal(draw, draws("other", rows, rows * 0))
    rank = np.array([0.1, 0.9, 0.8, 0.2, 0.3])
    lucky = np.array([0.5, 0.0, 0.0, 0.2, 0.9])
    chosen = kept(rank, lucky, rank > 0.25, budget=2, sample=1)
    assert chosen.tolist() == [1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 8),
    st.integers(0, 8),
    st.integers(1, 12),
)
def test_the_same_is_read_of_candidates_that_were_thinned_on_the_way(
    pieces: list[tuple[int, bool]], budget: int, sample: int, size: int
) -> None:
    rows = [
        {"n": n, "rank": rank / 9, "is_above": is_above, TALLY: 0, "draw": (n * 7 % 41) / 41}
        for n, (rank, is_above) in enumerate(pieces)
    ]
    every = pa.Table.from_pylist(rows)
    parts = [every.slice(at, size) for at in range(0, len(rows), size)]
    left = parts[0]
    for part in parts[1:]:
        left = thinned(pa.concat_tables([left, part]), budget=budget, sample=sample)
    left = thinned(left, budget=budget, sample=sample)
    assert left.num_rows <= budget + sample + 1
    for less in range(budget + 1):
        a = reading(every, budget=less, sample=min(sample, budget))
        b = reading(left, budget=less, sample=min(sample, budget))
        for name in ("top", "sample"):
            ours = left.take(getattr(b, name)).column("n").to_pylist()
            assert ours == every.take(getattr(a, name)).column("n").to_pylist()
        assert a.others == b.others
        assert a.never_read == b.never_read


def test_a_pair_is_judged_as_the_classifier_reads_it() -> None:
    documents = [
        Document("d", "a:1", prompt="How was it?", answer=INSULT),
        Document("e", "a:2", prompt=INSULT, answer=None),
        Document("f", "a:3", prompt=CALM, answer=CALM),
    ]
    spans, _ = mined(documents, classifier=Counting())
    assert [(s.doc_id, s.field, s.text, s.answer) for s in spans] == [
        ("d", "answer", INSULT, INSULT),
        ("e", "prompt", INSULT, None),
    ]


class Labels:
    """Two labels of a text at once: `rude` and `threat`, where these words stand."""

    name = "labels"
    categories = ("rude", "threat")

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = [[0.9 * ("rude" in text), 0.8 * ("threat" in text)] for text in texts]
        return np.array(found, np.float32)


def test_every_category_that_reaches_its_threshold_gives_a_span() -> None:
    first, second, third = (
        f"{said} in a sentence of some length."
        for said in ("This is rude", "This is a rude threat", "Only a threat")
    )
    text = f"{first} {second} {third} Nothing at all is said in this last sentence."
    pair = Document("p", "a:2", prompt="Say it.", answer="A rude threat.")
    spans, report = mined(
        [*texts(text), pair], classifier=Labels(), harm_window=60, harm_threshold=0.5
    )
    assert [(s.category, s.text, s.score) for s in spans] == [
        ("rude", f"{first} {second}", 0.9),
        ("threat", f"{second} {third}", 0.8),
        ("rude", "A rude threat.", 0.9),
        ("threat", "A rude threat.", 0.8),
    ]
    assert report["pieces_judged"] == 6


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (Document("d", "a:1", text=INSULT, prompt="Hello there"), [("text", INSULT)]),
        (Document("d", "a:1", text="nice", answer=INSULT), [("answer", INSULT)]),
        (
            Document("d", "a:1", text=f"{CALM} {INSULT}", prompt="Hello there", answer=INSULT),
            [("answer", INSULT), ("text", f"{CALM} {INSULT}")],
        ),
    ],
)
@pytest.mark.parametrize("judge", [Counting, lambda: None])
def test_every_column_is_read(document: Document, found: list[Any], judge: Any) -> None:
    spans, _ = mined([document], classifier=judge(), harm_head=False, harm_categories=("toxicity",))
    assert [(span.field, span.text) for span in spans] == found


def test_long_prompts_and_answers_are_read_by_windows() -> None:
    judge = Counting()
    long = f"{CALM} " * 40 + INSULT
    documents = [
        Document("d", "a:1", prompt="Well?", answer=long),
        Document("e", "a:2", prompt=long, answer="Well."),
    ]
    spans, _ = mined(documents, classifier=judge)
    assert [(span.field, span.text) for span in spans] == [("answer", long), ("prompt", long)]
    assert max(map(len, judge.texts)) <= 400 < len(long)


def test_the_words_that_made_a_text_harmful_can_be_marked() -> None:
    text = f"Ünlike {CALM} {INSULT} Thank you."
    spans, _ = mined(texts(text), harm_head=False, harm_spans="words")
    assert spans
    assert all(text[span.start : span.end] == span.text for span in spans)
    marked = " ".join(span.text for span in spans)
    assert "idiot" in marked
    assert "stupid" in marked
    assert "committee" not in marked
    assert "Thank" not in marked
