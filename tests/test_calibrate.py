"""Thresholds from labelled documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from forgetkit.corpus import DocumentBatch
from forgetkit.errors import InputError, UsageError
from forgetkit.files import read_json
from forgetkit.mine import MineConfig, mine
from forgetkit.mine.calibrate import calibrated, threshold
from forgetkit.progress import Progress, Silent

HARM = Path(__file__).parent.parent / "sample_data" / "harm"


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labelled(tmp_path: Path, each: int) -> Path:
    rows: list[dict[str, Any]] = []
    for name, label in (("unseen_prompts", 1), ("forget_prompts", 1), ("ordinary_prompts", 0)):
        for line in (HARM / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:each]:
            row = json.loads(line)
            key = f"{name}{len(rows)}"
            rows.append({"id": key, "prompt": row["prompt"], "answer": "Well.", "label": label})
    return written(tmp_path / "labels.jsonl", rows)


def test_a_threshold_is_the_highest_that_keeps_the_recall() -> None:
    scores = np.linspace(0.01, 1, 100)
    for recall in (0.5, 0.9, 0.99, 1.0):
        chosen = threshold(scores, recall)
        assert (scores >= chosen).mean() >= recall
        assert (scores >= chosen + 0.0101).mean() < recall


def test_labels_that_no_threshold_finds_are_an_error_and_not_a_threshold_of_nothing(
    tmp_path: Path,
) -> None:
    """Semantic: a document that stands out from no work scores 0 at every threshold."""

    class Half:
        def best(self, batch: DocumentBatch, progress: Progress) -> npt.NDArray[np.float64]:
            return np.where(np.arange(len(batch)) % 4 == 0, 0.0, 0.8)

    labels = labelled(tmp_path, 100)
    for recall, is_reached in ((0.5, True), (0.99, False)):
        config = MineConfig(detectors=("semantic",), calibrate=labels, recall=recall)
        if is_reached:
            assert calibrated(config, {"semantic": Half()}, Silent())[0].semantic_threshold == 0.8
            continue
        with pytest.raises(InputError, match=r"no threshold reaches.*\d\d% of the positive"):
            calibrated(config, {"semantic": Half()}, Silent())


def test_a_higher_recall_lowers_the_threshold_and_the_report_says_what_it_costs(
    tmp_path: Path,
) -> None:
    labels = labelled(tmp_path, 100)
    corpus = written(tmp_path / "corpus.jsonl", [{"text": "Nothing of note stands here."}])
    found = {}
    for recall in (0.5, 0.95):
        config = MineConfig(
            detectors=("harm",),
            harm_head=False,
            harm_categories=("harmful_request",),
            calibrate=labels,
            recall=recall,
        )
        result = mine([corpus], tmp_path / str(recall), config=config)
        found[recall] = result.reports["harm"]
    low, high = found[0.5], found[0.95]
    assert low["threshold harmful_request"] > high["threshold harmful_request"]
    assert low["calibrated_recall"] < high["calibrated_recall"]
    assert high["calibrated_recall_low"] < high["calibrated_recall"]
    assert high["calibrated_recall"] > 0.85
    assert 0.5 < high["calibrated_precision_low"] < high["calibrated_precision"]
    assert 80 < high["calibrated_on"] < 170
    assert read_json(tmp_path / "0.5" / "summary.json")["reports"]["harm"] == low


def test_labels_are_read_by_the_columns_of_the_run(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in labelled(tmp_path, 100).read_text("utf-8").splitlines()]
    renamed = [{"ask" if name == "prompt" else name: row[name] for name in row} for row in rows]
    named: dict[str, Any] = {"detectors": ("harm",), "columns": {"prompt": "ask"}}
    named["harm_head"] = False
    config = MineConfig(**named, calibrate=written(tmp_path / "renamed.jsonl", renamed))
    corpus = written(tmp_path / "corpus.jsonl", [{"ask": "Nothing of note stands here?"}])
    assert mine([corpus], tmp_path / "out", config=config).reports["harm"]["calibrated_on"] > 80


def test_what_cannot_be_calibrated_says_why(tmp_path: Path) -> None:
    corpus = written(tmp_path / "corpus.jsonl", [{"text": "Nothing of note stands here."}])
    config = MineConfig(detectors=("harm",), harm_head=False, calibrate=labelled(tmp_path, 5))
    with pytest.raises(InputError, match="too few labelled documents"):
        mine([corpus], tmp_path / "out", config=config)
    work = tmp_path / "work.txt"
    work.write_text("A work of some length.", encoding="utf-8")
    config = MineConfig(detectors=("verbatim",), calibrate=labelled(tmp_path, 100))
    with pytest.raises(UsageError, match="no detector has a threshold"):
        mine([corpus], tmp_path / "out", works=[work], config=config)
