"""train-filter: a student from labels or from a teacher, measured on rows it never saw."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from forgetkit.classify import open_classifier
from forgetkit.classify.figures import area, at_threshold, calibration
from forgetkit.classify.fit import Recipe, threshold_of
from forgetkit.classify.labels import read_labels
from forgetkit.classify.training import FilterConfig, train_filter
from forgetkit.classify.weights import open_weights, save_weights
from forgetkit.errors import InputError, TamperedError, UsageError
from forgetkit.files import sha256_tree
from forgetkit_cli.main import app

GOOD = ("bread", "garden", "river", "music", "winter", "letter")
BAD = ("poison", "weapon", "explosive", "burglary", "fraud", "threat")


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labelled(count: int) -> list[dict[str, Any]]:
    rows = []
    for n in range(count):
        word = (BAD if n % 2 else GOOD)[n // 2 % 6]
        text = f"Tell me in {n} steps about the {word} of my neighbour number {n}."
        rows.append({"id": f"r{n}", "text": text, "label": n % 2})
    return rows


def test_a_trained_filter_opens_by_its_folder_and_its_card_says_how_good_it_is(
    tmp_path: Path,
) -> None:
    labels = written(tmp_path / "labels.jsonl", labelled(300))
    made = train_filter([labels], tmp_path / "filter")
    assert {p.name for p in (tmp_path / "filter").iterdir() if not p.name.startswith(".")} == {
        "filter.json",
        "filter.npz",
        "README.md",
    }
    classifier = open_classifier(str(tmp_path / "filter"))
    assert classifier.categories == ("harmful",)
    good, bad = classifier.score(["about the bread", "about the poison"])[:, 0]
    assert bad > made.card["thresholds"]["harmful"] > good
    held = made.card["held_out"]["harmful"]
    assert held["auc"] > 0.95
    assert 30 < held["n"] < 90
    assert held["n"] + sum(made.card["trained_on"]["harmful"]["labels"].values()) == 300
    card = (tmp_path / "filter" / "README.md").read_text(encoding="utf-8")
    assert "area under ROC" in card
    assert "neighbour" not in card


def test_the_same_labels_give_the_same_bytes_and_the_same_run_is_read_back(tmp_path: Path) -> None:
    labels = written(tmp_path / "labels.jsonl", labelled(200))
    trees = []
    for name in ("a", "b"):
        train_filter([labels], tmp_path / name)
        trees.append(sha256_tree(tmp_path / name))
    assert trees[0] == trees[1]
    train_filter([labels], tmp_path / "a")
    with pytest.raises(UsageError, match="something else"):
        train_filter([labels], tmp_path / "a", config=FilterConfig(bits=12))


def test_a_changed_filter_is_refused_and_nothing_in_it_is_unpickled(tmp_path: Path) -> None:
    labels = written(tmp_path / "labels.jsonl", labelled(200))
    folder = tmp_path / "filter"
    train_filter([labels], folder)
    card = json.loads((folder / "filter.json").read_text(encoding="utf-8"))
    np.savez(folder / "filter.npz", weights=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TamperedError, match="Train the filter again"):
        open_classifier(str(folder))
    from forgetkit.files import sha256_file

    card["sha256"] = sha256_file(folder / "filter.npz")
    (folder / "filter.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError, match="plain arrays"):
        open_classifier(str(folder))
    with zipfile.ZipFile(folder / "filter.npz", "w"):
        pass
    card["sha256"] = sha256_file(folder / "filter.npz")
    (folder / "filter.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError, match="do not fit"):
        open_classifier(str(folder))


@pytest.fixture(scope="module")
def made_filter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    labels = written(folder / "labels.jsonl", labelled(200))
    train_filter([labels], folder / "filter", config=FilterConfig(bits=10))
    return folder / "filter"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": "harmful"}, "categories"),
        ({"categories": []}, "categories"),
        ({"bits": "10"}, "bits"),
        ({"bits": 11}, "do not fit"),
        ({"runs": None}, "runs"),
        ({"runs": [99]}, "runs"),
        ({"runs": ["a"]}, "runs"),
        ({"thresholds": [0.5]}, "thresholds"),
        ({"thresholds": {"harmful": "high"}}, "thresholds"),
        ({"thresholds": {"harmful": None}}, "thresholds"),
        ({"thresholds": {}}, "no threshold for each category"),
        ({"floors": {"other": 0.5}}, "no threshold for each category"),
        ({"floors": 3}, "floors"),
        ({"reads": {"harmful": "tea leaves"}}, "reads"),
        ({"reads": None}, "reads"),
        ({"embedder": 7}, "embedder"),
        ({"embedder": "minilm"}, "no thresholds with it"),
        ({"embedder": "minilm", "second": {"thresholds": {}}}, "no threshold for each category"),
    ],
)
def test_a_card_with_wrong_fields_is_refused(
    made_filter: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    for name in ("filter.json", "filter.npz"):
        (tmp_path / name).write_bytes((made_filter / name).read_bytes())
    card = json.loads((tmp_path / "filter.json").read_text("utf-8")) | change
    (tmp_path / "filter.json").write_text(json.dumps(card), "utf-8")
    with pytest.raises(InputError, match=message):
        open_classifier(str(tmp_path))


@pytest.mark.parametrize("name", ["categories", "bits", "thresholds", "scale", "bias"])
def test_a_filter_without_a_needed_part_is_refused(
    made_filter: Path, tmp_path: Path, name: str
) -> None:
    card, arrays = open_weights("filter", made_filter)
    card.pop(name, None)
    arrays.pop(name, None)
    save_weights("filter", tmp_path, card, arrays)
    with pytest.raises(InputError, match=name):
        open_classifier(str(tmp_path))


def test_several_categories_and_pairs_are_learned_at_once(tmp_path: Path) -> None:
    rows = [
        {
            "id": str(n),
            "prompt": f"About {BAD[n % 6] if n % 2 else GOOD[n % 6]}?",
            "answer": f"{'Surely' if n % 3 else 'Never'} {n}.",
            "labels": {"request": n % 2, "answer": int(n % 3 > 0)} if n % 5 else {"request": n % 2},
        }
        for n in range(300)
    ]
    examples = read_labels([written(tmp_path / "labels.jsonl", rows)])
    assert {name: len(kept) for name, kept in examples.items()} == {"answer": 240, "request": 300}
    made = train_filter([tmp_path / "labels.jsonl"], tmp_path / "filter")
    assert made.card["reads"] == {"answer": "pair", "request": "pair"}
    scores = open_classifier(str(tmp_path / "filter")).score(["About fraud?\n\nNever 7."])[0]
    assert scores[1] > 0.5 > scores[0]


def test_copies_are_kept_once_and_contradictions_are_refused(tmp_path: Path) -> None:
    row = {"text": "One and the same text.", "label": 1}
    twice = [row, {**row, "text": "one and the  same text."}]
    found = read_labels([written(tmp_path / "a.jsonl", twice)], "spam")
    assert [len(rows) for rows in found.values()] == [1]
    assert list(found) == ["spam"]
    with pytest.raises(InputError, match=r"b\.jsonl:2: the same text has another label"):
        read_labels([written(tmp_path / "b.jsonl", [row, {**row, "label": 0}])])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, "has no label"),
        ({"text": "a", "label": "maybe"}, "is no label; found 'maybe'"),
        ({"text": "a", "labels": {"x": 2}}, "is no label; found '2'"),
    ],
)
def test_a_row_without_a_readable_label_is_named(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=rf"a\.jsonl:1: {message}"):
        read_labels([written(tmp_path / "a.jsonl", [row])])


def test_too_few_rows_are_an_error_that_says_how_many(tmp_path: Path) -> None:
    labels = written(tmp_path / "labels.jsonl", labelled(10))
    with pytest.raises(InputError, match="too few rows to train on"):
        train_filter([labels], tmp_path / "filter")


def test_a_student_learns_from_a_teacher(tmp_path: Path) -> None:
    rows = [
        {"id": row["id"], "text": row["text"].replace("neighbour", "damn stupid idiot")}
        if n % 4 == 1
        else {"id": row["id"], "text": row["text"]}
        for n, row in enumerate(labelled(600))
    ]
    corpus = written(tmp_path / "corpus.jsonl", rows)
    config = FilterConfig(teacher="bundled", sample=400, bits=14)
    made = train_filter([corpus], tmp_path / "filter", config=config)
    assert "toxicity" in made.card["categories"]
    assert made.card["teacher"] == "bundled"
    assert made.card["held_out"]["toxicity"]["auc"] > 0.95
    assert list(made.card["trained_on"]["toxicity"]) == ["teacher"]


class Exclusive:
    """Call a text with a word of `BAD` toxic, and any other neutral."""

    name, categories, is_exclusive = "exclusive", ("neutral", "toxic"), True

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        bad = np.array([any(word in text for word in BAD) for text in texts])
        return np.stack([~bad, bad], axis=1).astype(np.float32)


def test_what_a_teacher_calls_harmless_is_not_learned_and_columns_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Exclusive()
    monkeypatch.setattr("forgetkit.classify.teach.open_classifier", lambda *_, **__: teacher)
    rows = [{"id": row["id"], "body": row["text"], "text": 1} for row in labelled(200)]
    corpus = written(tmp_path / "corpus.jsonl", rows)
    named: dict[str, Any] = {"teacher": "exclusive", "columns": {"text": "body"}}
    made = train_filter([corpus], tmp_path / "filter", config=FilterConfig(**named))
    assert made.card["categories"] == ["toxic"]
    monkeypatch.setattr(teacher, "categories", ("calm", "toxic"), raising=False)
    with pytest.raises(InputError, match="teacher_categories"):
        train_filter([corpus], tmp_path / "other", config=FilterConfig(**named))
    config = FilterConfig(**named, teacher_categories=("toxic",))
    made = train_filter([corpus], tmp_path / "asked", config=config)
    assert made.card["categories"] == ["toxic"]


def test_of_a_large_corpus_a_random_sample_is_held_whatever_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forgetkit.classify.teach.open_classifier", lambda *_, **__: Exclusive())
    monkeypatch.setattr("forgetkit.classify.teach.HELD", 1)
    held: list[int] = []
    for rows in (labelled(900), labelled(900)[::-1]):
        corpus = written(tmp_path / f"{len(held)}.jsonl", rows)
        config = FilterConfig(teacher="exclusive", sample=200, bits=12)
        card = train_filter([corpus], tmp_path / f"f{len(held)}", config=config).card
        counts = card["trained_on"]["toxic"]["teacher"]
        held.append(sum(counts.values()) + card["held_out"]["toxic"]["n"])
    assert held == [200, 200]


def test_figures_of_known_values() -> None:
    labels = np.array([True, True, False, False])
    assert area(labels, np.array([0.9, 0.4, 0.4, 0.1])) == 0.875
    assert area(np.array([True, True]), np.array([0.1, 0.2])) is None
    found = at_threshold(labels, np.array([0.9, 0.4, 0.4, 0.1]), 0.4)
    assert found["precision"]["value"] == 0.6667
    assert found["recall"]["value"] == 1.0
    assert found["recall"]["low"] < 0.5
    assert at_threshold(labels, np.zeros(4), 0.5)["precision"]["value"] is None
    perfect = calibration(labels, np.array([1.0, 1.0, 0.0, 0.0]))
    assert perfect == {"expected_error": 0.0, "brier": 0.0}


def test_a_threshold_keeps_the_recall_it_is_set_for() -> None:
    labels = np.arange(200) < 100
    scores = np.linspace(1, 0, 200)
    chosen = threshold_of(labels, scores, Recipe(recall=0.9))
    assert (scores[labels] >= chosen).mean() >= 0.9
    allowed = threshold_of(labels, scores, Recipe(false_positives=0.05))
    assert 0 < (scores[~labels] >= allowed).mean() <= 0.05


@pytest.mark.parametrize("tied", [0.0, 0.25, 0.5, 0.123456, 1.0])
def test_rows_that_tie_do_not_reach_the_threshold_together(tied: float) -> None:
    labels = np.arange(200) < 100
    scores = np.where(np.arange(200) < 40, 0.9, tied)
    chosen = threshold_of(labels, scores, Recipe(false_positives=0.05))
    assert (scores[~labels] >= chosen).mean() == 0
    assert tied < chosen < tied + 0.0002
    scores[-4:] = 0.95
    chosen = threshold_of(labels, scores, Recipe(false_positives=0.05))
    assert (scores[~labels] >= chosen).mean() <= 0.05


def test_a_filter_of_rows_that_say_nothing_flags_nothing_and_its_card_says_why(
    tmp_path: Path,
) -> None:
    rows = [{"id": f"r{n}", "text": "The same" + "." * n, "label": n % 2} for n in range(200)]
    labels = written(tmp_path / "labels.jsonl", rows)
    made = train_filter([labels], tmp_path / "filter")
    assert made.warnings == ["no held-out row reaches the threshold of category 'harmful'"]
    assert made.card["held_out"]["harmful"]["false_positives"]["value"] == 0.0
    card = " ".join((tmp_path / "filter" / "README.md").read_text("utf-8").split())
    assert "no more than 5% of the harmless rows reach it, and rows whose scores tie fall" in card


def test_the_command_prints_figures_and_exits_with_the_code_of_its_error(tmp_path: Path) -> None:
    labels = written(tmp_path / "labels.jsonl", labelled(200))
    command = ["train-filter", str(labels), "--out", str(tmp_path / "filter"), "--json", "--quiet"]
    done = CliRunner().invoke(app, [*command, "--category", "crime", "--set", "bits=12"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["counts"]["crime AUC"] > 0.9
    assert Path(printed["outputs"]["card"]).is_file()
    (tmp_path / "none.jsonl").write_text("", encoding="utf-8")
    arguments = [str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "x")]
    failed = CliRunner().invoke(app, ["train-filter", *arguments])
    assert isinstance(failed.exception, InputError)
