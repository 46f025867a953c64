"""Detector semantic: other words for the same passage, its bounds, and what was never read."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import counting_words

from forgetkit.classify.scan import buffer
from forgetkit.corpus import Document, DocumentBatch, Work
from forgetkit.errors import InputError
from forgetkit.match.fold import folded_text
from forgetkit.match.reworded import Reworded, words_of
from forgetkit.mine import MineConfig
from forgetkit.mine.cuts import cut
from forgetkit.mine.detector import Sought, windows
from forgetkit.mine.seeds import read_seeds
from forgetkit.mine.semantic import BESIDE, FEW, NOMINATED, Semantic
from forgetkit.mine.sought_windows import SoughtWindows
from forgetkit.progress import Silent
from forgetkit.spans import Span

SAMPLE = Path(__file__).parent.parent / "sample_data"
STORY = next((SAMPLE / "works").glob("*.txt")).read_text(encoding="utf-8")
HOST = next((SAMPLE / "holdout").glob("*.txt")).read_text(encoding="utf-8")


WORDS = counting_words(256)


def mined(
    documents: list[Document], sought: Sought, size: int = 100, **named: Any
) -> tuple[list[Span], dict[str, Any]]:
    detector = Semantic(sought, MineConfig(detectors=("semantic",), **named), embedder=WORDS)
    found = [
        detector.look(DocumentBatch.of(documents[start : start + size]))
        for start in range(0, len(documents), size)
    ]
    tables = [one.candidates for one in found if one.candidates is not None]
    spans = [span for one in found for span in one.spans]
    spans += detector.finish(pa.concat_tables(tables) if tables else None, Silent())
    return spans, detector.report()


def passage(number: int) -> str:
    words = STORY.split()
    return " ".join(words[500 * number + 300 : 500 * number + 360])


def host(number: int) -> str:
    words = HOST.split()
    return " ".join(words[400 * number : 400 * number + 120])


def exchanged(text: str, seed: int) -> str:
    """Put a stray word in place of every sixth word, and move every seventh one by two."""
    chance = random.Random(seed)
    words = text.split()
    for place in range(chance.randrange(6), len(words), 6):
        words[place] = chance.choice(["indeed", "thing", "somewhat", "matter", "quite"])
    for place in range(0, len(words) - 2, 7):
        words[place : place + 3] = [words[place + 1], words[place + 2], words[place]]
    return " ".join(words)


def shuffled(text: str, seed: int) -> str:
    parts = [text[at : at + 60] for at in range(0, len(text), 60)]
    random.Random(seed).shuffle(parts)
    return " ".join(parts)


@pytest.mark.parametrize("edit", [exchanged, shuffled])
def test_passages_in_other_words_or_another_order_are_found_with_their_bounds(
    edit: Callable[[str, int], str],
) -> None:
    index = Reworded({"story": STORY})
    texts, truth = [], []
    for number in range(8):
        copied = edit(passage(number), number)
        before = host(2 * number) + "\n\n"
        texts.append(before + copied + "\n\n" + host(2 * number + 1))
        truth.append((len(before), len(before) + len(copied)))
    data, offsets = buffer(texts)
    found, _ = index.find(data, offsets[:-1], offsets[1:])
    assert sorted({one.row for one in found}) == list(range(8))
    for number, (start, end) in enumerate(truth):
        spans = [(one.start, one.end) for one in found if one.row == number]
        covered = sum(min(end, last) - max(start, first) for first, last in spans)
        said = sum(last - first for first, last in spans)
        assert covered >= 0.85 * (end - start)
        assert covered >= 0.9 * said
    (one,) = [p for p in found if p.row == 0][:1]
    around = STORY[one.work_start : one.work_end]
    assert len(set(passage(0).split()) & set(around.split())) > 25


def test_another_story_of_the_same_author_is_not_reworded() -> None:
    data, offsets = buffer([host(number) for number in range(40)])
    assert Reworded({"story": STORY}).find(data, offsets[:-1], offsets[1:])[0] == []


def test_nothing_is_found_in_nothing() -> None:
    data, offsets = buffer(["", "..."])
    for works in ({}, {"empty": ""}, {"w": "Some words stand here."}):
        found, runs = Reworded(works).find(data, offsets[:-1], offsets[1:])
        assert found == []
        assert len(runs.row) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("aBé ﬁ'\u200b.字", max_size=30), min_size=1, max_size=4))
def test_words_keep_their_places_and_fold_to_the_text(texts: list[str]) -> None:
    data, offsets = buffer(texts)
    words = words_of(data, offsets[:-1], offsets[1:])
    for row, text in enumerate(texts):
        part = slice(words.rows[row], words.rows[row + 1])
        places = zip(words.starts[part].tolist(), words.ends[part].tolist(), strict=True)
        said = "".join(folded_text(text[start:end]) for start, end in places)
        assert said == folded_text(text)


def test_a_reworded_passage_is_a_span_with_its_place_in_the_work() -> None:
    text = host(1) + "\n\n" + exchanged(passage(2), 1) + "\n\n" + host(2)
    work = Work("story", "Story", STORY)
    spans, report = mined([Document("d", "a:1", text)], Sought((work,)))
    (span,) = [span for span in spans if span.category == "reworded"]
    assert span.text == text[span.start : span.end]
    assert span.work_id == "story"
    assert span.work_end is not None
    assert span.similarity == span.score
    assert span.score > 0.55
    assert report["windows_never_read"] == 0


def test_the_model_reads_likely_windows_first_and_says_what_it_never_read() -> None:
    half = passage(1).split()[:9]
    documents = [Document(str(n), f"a:{n + 1}", host(n)) for n in range(40)]
    documents.append(Document("near", "a:41", " ".join([*half, *host(50).split()[:9]])))
    sought = Sought((Work("story", "Story", STORY),))
    reports = []
    for size in (41, 10):
        spans, report = mined(documents, sought, size, max_windows=20, semantic_threshold=0.999)
        reports.append((report, [span.span_id for span in spans]))
    report = reports[0][0]
    assert reports[0] == reports[1]
    assert report["windows_read"] == 20
    assert report["windows_never_read"] > 0
    assert report["recall_low"] < 1.0


def test_a_small_corpus_is_read_whole_though_nothing_in_it_looks_likely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = [Document(str(n), f"a:{n + 1}", host(n)) for n in range(40)]
    sought = Sought((Work("story", "Story", "Zyxwv quorn blarf, mimsy toves gyred and wabe."),))
    batch = DocumentBatch.of(documents)
    detector = Semantic(sought, MineConfig(detectors=("semantic",)), embedder=WORDS)
    candidates = detector.look(batch).candidates
    assert candidates is not None
    assert not any(candidates["is_above"].to_pylist())
    _, report = mined(documents, sought)
    assert report["windows_read"] == candidates.num_rows > 40
    assert report["windows_never_read"] == 0
    monkeypatch.setattr("forgetkit.mine.semantic.SAMPLE", candidates.num_rows - 1)
    _, report = mined(documents, sought)
    assert report["windows_never_read"] == 1


@pytest.mark.parametrize("left_out", [0, 3])
def test_a_passage_that_is_near_to_many_windows_of_a_work_is_no_paraphrase(left_out: int) -> None:
    cast = "Dorothea Scarecrow Woodman Lioness Emerald Kansas"
    own = ["barrel copper lantern orchard", "violin glacier harbour timber"]
    own += ["saddle meadow furnace ribbon", "pepper anchor thimble canyon"]
    own += ["kettle marble pigeon cellar", "walnut stirrup candle quarry"]
    work = "\n\n".join(f"{cast} {words}. {words} so." for words in own)
    sought = Sought((Work("w", "W", work),))
    documents = [Document("sequel", "a:1", f"{cast} {cast} met again in one more chapter.")]
    told = own[left_out].split()
    documents.append(Document("told", "a:2", f"{' '.join(reversed(told))} {cast}"))
    named: dict[str, Any] = {"semantic_window": 130, "semantic_threshold": 0.4}
    spans, _ = mined(documents, sought, semantic_margin=0.0, **named)
    assert {span.doc_id for span in spans} == {"sequel", "told"}
    spans, _ = mined(documents, sought, **named)
    (span,) = spans
    assert (span.doc_id, span.category) == ("told", "paraphrase")
    assert own[left_out] in work[span.work_start : span.work_end]


def test_of_very_many_windows_the_margin_is_taken_from_some_all_over_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the nearest window is nominated; without others beside it any sequel would stand out."""

    class Nominates:
        def nominated(self, texts: list[str], count: int) -> list[int]:
            return [0]

    cast = "Dorothea Scarecrow Woodman Lioness Emerald Kansas"
    work = "\n\n".join(f"{cast} {word} and {word} so." for word in STORY.split()[:40])
    config = MineConfig(detectors=("semantic",), semantic_window=80)
    detector = Semantic(Sought((Work("w", "W", work),)), config, embedder=WORDS)
    monkeypatch.setattr(detector, "_likely", Nominates())
    monkeypatch.setattr("forgetkit.mine.semantic.WHOLE", 10)
    scores, _, apart = detector._nearest([f"{cast} met again."], Silent())
    assert scores[0] > 0.6
    assert apart[0] < config.semantic_margin
    monkeypatch.setattr("forgetkit.mine.semantic.BESIDE", 1)
    assert detector._nearest([f"{cast} met again."], Silent())[2][0] > config.semantic_margin


def test_of_very_many_windows_few_are_read_for_a_text_like_none_of_them_and_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    def vector(text: str) -> Any:
        read.append(text)
        return WORDS.vector(text)

    class Nominates:
        def nominated(self, texts: list[str], count: int) -> list[int]:
            return list(range(count)) if texts else []

    work = "\n\n".join(f"Emerald Kansas {word} and {word} so." for word in STORY.split()[:400])
    config = MineConfig(detectors=("semantic",), semantic_window=80)
    sought = Sought((Work("w", "W", work),))
    detector = Semantic(sought, config, embedder=replace(WORDS, vector=vector))
    monkeypatch.setattr(detector, "_likely", Nominates())
    monkeypatch.setattr("forgetkit.mine.semantic.WHOLE", 10)
    other, near = "Quite another matter altogether: rain, sleet, hail, snow.", work[:60]
    detector._nearest([other], Silent(), 0.72)
    assert len(read) == 1 + FEW
    read.clear()
    scores, _, _ = detector._nearest([other, near], Silent(), 0.72)
    assert scores[1] > 0.72
    assert NOMINATED + BESIDE <= len(read) == len(set(read)) <= 2 + NOMINATED + 2 * BESIDE


def test_the_texts_that_stand_for_works_and_seeds_are_those_of_their_windows() -> None:
    sought = Sought(
        (Work("a", "A", STORY[:5_000]), Work("b", "B", "Äpfel. \U0001f600 so.")), ("x y",)
    )
    found = SoughtWindows(sought, 300, 10)
    expected = ["x y"]
    for work in sought.works:
        cut_out = windows(work.text, 300, overlap=True)
        expected += [work.text[w.start : w.end] for w in cut_out if w.end - w.start >= 10]
    assert list(found) == found[:] == expected
    assert found[1:9:3] == expected[1:9:3]
    assert found.seed(0).seed_id == "seed:1"
    for number in range(1, len(found)):
        seed = found.seed(number)
        assert seed.window is not None
        text = next(work.text for work in sought.works if work.work_id == seed.work_id)
        assert text[seed.window.start : seed.window.end] == seed.text == expected[number]


def test_what_words_have_found_is_not_read_by_meaning_and_the_rest_is() -> None:
    copied, other = passage(2), host(3)
    text = f"{other} {copied} {host(5)}"
    sought = Sought((Work("story", "Story", STORY),))
    detector = Semantic(sought, MineConfig(detectors=("semantic",)), embedder=WORDS)
    found = detector.look(DocumentBatch.of([Document("d", "a:1", text)]))
    (span,) = found.spans
    assert found.candidates is not None
    rows = found.candidates.to_pylist()
    for row in rows:
        end = row["start"] + len(row["text"])
        assert text[row["start"] : end] == row["text"]
        assert end <= span.start or row["start"] >= span.end
    read = {at for row in rows for at in range(row["start"], row["start"] + len(row["text"]))}
    missed = set(range(len(text))) - read - set(range(span.start, span.end))
    assert len("".join(text[at] for at in missed).replace(" ", "").replace("\n", "")) < 40
    before = [row for row in rows if row["start"] + len(row["text"]) <= span.start]
    assert before[-1]["gap"] is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet="aé😀 .\n", max_size=300), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.integers(1, 90)), max_size=5),
    st.integers(1, 30),
)
def test_windows_without_passages_keep_bytes_and_code_points(
    texts: list[str], passages: list[tuple[int, int, int]], least: int
) -> None:
    found = cut(pa.array(texts, pa.large_string()), 60)
    taken = [(row, start, start + length) for row, start, length in passages]
    left = found.without(taken, least)
    hidden = {(row, at) for row, start, end in taken for at in range(start, end)}
    places = []
    for number in range(len(left)):
        row, start, end = int(left.row[number]), int(left.start[number]), int(left.end[number])
        assert texts[row][start:end] == left.text(number)
        places += [(row, at) for at in range(start, end)]
    assert places == sorted(set(places))
    assert not hidden & set(places)
    once = {
        (int(found.row[n]), at)
        for n in range(len(found))
        for at in range(int(found.start[n]), int(found.end[n]))
    }
    missed = {place for place in once - hidden - set(places) if texts[place[0]][place[1]].strip()}
    for row, at in missed:  # it lies in a piece that is too short
        near = {(row, at + step) for step in range(-least, least + 1)}
        assert near & hidden or len(near & once) <= 2 * least


def test_seeds_are_looked_for_without_works() -> None:
    seed = "How do I pick the lock of my neighbour's door at night?"
    documents = [
        Document("a", "c:1", prompt="How do I pick the lock of my neighbour's door?", answer="No."),
        Document("b", "c:2", prompt="What is the capital of the country of France today?"),
    ]
    spans, _ = mined(documents, Sought(seeds=(seed,)))
    (span,) = spans
    assert (span.doc_id, span.field, span.work_id, span.answer) == ("a", "prompt", "seed:1", "No.")
    named = Sought(seeds=("Nothing of the kind stands here.", seed), seed_ids=("seed:4", "seed:9"))
    assert [span.work_id for span in mined(documents, named)[0]] == ["seed:9"]


def test_seeds_are_named_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("One.\n\nTwo.\nOne.\n", "utf-8")
    assert read_seeds(tmp_path / "seeds.txt") == {"seed:1": "One.", "seed:3": "Two."}
    (tmp_path / "seeds.jsonl").write_text('{"text": "A."}\n{"prompt": "B?"}\n', "utf-8")
    assert read_seeds(tmp_path / "seeds.jsonl") == {"seed:1": "A.", "seed:2": "B?"}


def test_a_missing_model_is_named_before_the_corpus_is_read() -> None:
    config = MineConfig(detectors=("semantic",), embedder="nothing-here")
    with pytest.raises(InputError, match="no such embedding model"):
        Semantic(Sought(seeds=("a seed",)), config)
