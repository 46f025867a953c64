from __future__ import annotations

from dataclasses import replace

import pytest

from forgetkit.config import parse
from forgetkit.errors import InputError, UsageError
from forgetkit.mine import MineConfig, preview
from forgetkit.mine.policy import chosen
from forgetkit.spans import Span

ALL = ("verbatim", "semantic", "harm")


def span(detector: str, start: int, end: int, score: float = 0.9, field: str = "text") -> Span:
    return Span("d", "a:1", field, start, end, detector, "c", score, "x" * (end - start))


def test_a_place_counts_when_enough_detectors_find_it() -> None:
    spans = [
        span("verbatim", 0, 100),
        span("semantic", 60, 300),
        span("harm", 250, 400),
        span("harm", 0, 100, field="answer"),
    ]
    assert chosen(spans, MineConfig(detectors=ALL)) == spans
    assert chosen(spans, MineConfig(detectors=ALL, agree=2)) == []
    near = [span("verbatim", 0, 100), span("harm", 50, 400), span("harm", 380, 400)]
    assert chosen(near, MineConfig(detectors=ALL, agree=2)) == near[:2]
    assert chosen(near, MineConfig(detectors=ALL, agree=3)) == []


def test_a_score_below_the_threshold_of_its_detector_neither_counts_nor_agrees() -> None:
    spans = [span("verbatim", 0, 100, 0.5), span("harm", 0, 100, 0.5)]
    config = MineConfig(detectors=ALL, thresholds={"harm": 0.6})
    assert chosen(spans, config) == spans[:1]
    assert chosen(spans, config.model_copy(update={"agree": 2})) == []


def test_quotations_and_edit_classes_can_be_left_out() -> None:
    exact = replace(span("verbatim", 0, 100), edit_class="verbatim")
    edited = replace(span("verbatim", 200, 300), edit_class="edited", is_quote=True)
    found = [exact, edited, span("harm", 400, 500)]
    assert chosen(found, MineConfig()) == found
    assert chosen(found, MineConfig(quotes="drop")) == [exact, found[2]]
    only = MineConfig.model_validate({"edits": "normalised, edited"})
    assert chosen(found, only) == found[1:]


def test_a_detector_named_twice_counts_once_and_a_threshold_is_a_share() -> None:
    twice = parse(MineConfig, {"detectors": "pattern,pattern", "agree": 2}, "mine")
    assert twice.detectors == ("pattern",)
    with pytest.raises(UsageError, match="2 detectors cannot agree"):
        preview([], twice)
    for value in (-0.1, 1.5):
        with pytest.raises(InputError, match=r"thresholds\.harm"):
            parse(MineConfig, {"thresholds": {"harm": value}}, "mine")


def test_a_meaning_that_copies_cover_is_not_told_twice() -> None:
    copy, near = span("verbatim", 0, 95), span("semantic", 0, 100)
    assert chosen([copy, near], MineConfig()) == [copy]
    assert chosen([copy, near], MineConfig(agree=2)) == [copy]
    shorter = span("verbatim", 0, 50)
    assert chosen([shorter, near], MineConfig()) == [shorter, near]


def test_more_detectors_than_there_are_cannot_agree() -> None:
    with pytest.raises(UsageError, match="3 detectors cannot agree"):
        preview([], MineConfig(agree=3))
    with pytest.raises(UsageError, match="Did you mean 'harm'"):
        preview([], MineConfig(thresholds={"harn": 0.5}))
