from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetkit.build.control import compare
from forgetkit.errors import InputError
from forgetkit.results import (
    ABSENT,
    Alike,
    Better,
    Estimate,
    Metric,
    Outcome,
    Results,
    judged,
    load_results,
    mean,
    overall,
    rate,
    wilson,
)


def metric(value: float | None, better: Better = "lower") -> Metric:
    return Metric("m", "forget", better, after=Estimate(value, 30))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 20, 0.0, 0.161), (20, 20, 0.839, 1.0), (5, 20, 0.112, 0.469), (50, 100, 0.404, 0.596)],
)
def test_wilsons_interval_is_the_textbooks(hits: int, n: int, low: float, high: float) -> None:
    """Centre (p + z^2/2n) / (1 + z^2/n), half-width z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n).

    For 0 of 20: z^2 = 3.8415, high = (3.8415/20) / (1 + 3.8415/20) = 0.1611.
    """
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-3)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_holds_the_share(case: tuple[int, int]) -> None:
    low, high = wilson(*case)
    share = case[0] / case[1]
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


def test_a_rate_on_fewer_than_twenty_is_null_with_the_reason() -> None:
    assert rate([True] * 19) == Estimate(None, 19, reason="fewer than 20 probes")
    assert rate([]).value is None
    found = rate([True] * 5 + [False] * 15)
    assert (found.value, found.n) == (0.25, 20)


def test_a_mean_has_a_seeded_interval() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 0.5] * 8
    found = mean(values, seed=1)
    assert found.value == pytest.approx(0.5)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high
    assert mean(values, seed=1) == found
    assert mean(values, seed=2) != found


def test_a_mean_of_nothing_is_null_and_of_one_is_that_one() -> None:
    assert mean([], 0) == Estimate(None, 0, reason="no records")
    assert mean([0.3], 0) == Estimate(0.3, 1, 0.3, 0.3)


@pytest.mark.parametrize(
    ("value", "better", "fail", "verdict"),
    [
        (0.1, "lower", None, "pass"),
        (0.11, "lower", None, "fail"),
        (0.11, "lower", 0.3, "marginal"),
        (0.3, "lower", 0.3, "marginal"),
        (0.31, "lower", 0.3, "fail"),
        (0.1, "higher", None, "pass"),
        (0.05, "higher", 0.01, "marginal"),
        (0.005, "higher", 0.01, "fail"),
        (None, "lower", 0.3, "fail"),
        (float("nan"), "lower", 0.3, "fail"),
        (float("nan"), "higher", 0.01, "fail"),
    ],
)
def test_a_metric_is_judged_by_limit_and_failure(
    value: float | None, better: Better, fail: float | None, verdict: Outcome
) -> None:
    assert judged(metric(value, better), 0.1, fail, "rule").verdict == verdict


def test_the_run_is_as_good_as_its_worst_metric() -> None:
    good, bad = judged(metric(0.0), 0.1, None, "r"), judged(metric(0.2), 0.1, None, "r")
    between = judged(metric(0.2), 0.1, 0.3, "r")
    assert overall([good, metric(0.4)]) == "pass"
    assert overall([good, between]) == "marginal"
    assert overall([good, between, bad]) == "fail"
    assert overall([metric(0.0)]) is None


def test_results_read_back_as_written(tmp_path: Path) -> None:
    first = Metric("a", "forget", "lower", Estimate(1.0, 3, 0.5, 1.5), Estimate(0.1, 3), ABSENT)
    results = Results(
        (first, judged(metric(0.2), 0.1, None, "≤ 0.1")),
        "fail",
        {"after": {"name": "m", "sha256": "0"}},
        {"seed": 0},
        {"version": "0"},
        [{"example_id": "x", "before": None}],
        ["one note"],
    )
    results.save(tmp_path / "results.json")
    read = load_results(tmp_path / "results.json")
    assert read.metrics == results.metrics
    assert read.metric("a") == first
    read.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "results.json").read_bytes()


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema": "other"}', "{", ""])
def test_a_file_that_is_no_results_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError):
        load_results(tmp_path / "r.json")


def test_a_control_is_kept_as_build_found_it(tmp_path: Path) -> None:
    found = compare("words", [1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    row = Alike.of(found.row())
    assert (row.what, row.forget, row.p_value) == ("words", found.forget, found.p_value)
    Results((), None, {}, {}, {}, control=[row]).save(tmp_path / "results.json")
    assert load_results(tmp_path / "results.json").control == [row]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"control": [{"what": "words"}]}, "control.0.forget"),
        ({"control": [{"what": "words", "forget": [1, 2]}]}, "control.0.forget"),
        ({"metrics": [{"name": "a", "split": "forget", "better": "up"}]}, "metrics.0.better"),
        ({"metrics": None}, "metrics"),
        ({"pairs": [1]}, "pairs.0"),
    ],
)
def test_a_results_file_that_was_changed_by_hand_says_where(
    tmp_path: Path, change: dict[str, Any], place: str
) -> None:
    path = tmp_path / "results.json"
    Results((), None, {}, {}, {}).save(path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), encoding="utf-8")
    with pytest.raises(InputError, match="is damaged at " + place):
        load_results(path)


def test_a_metric_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Results((), None, {}, {}, {}).metric("utility")
