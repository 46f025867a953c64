"""Several seeds of one unlearning, evaluated and judged as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from typer.testing import CliRunner

from forgetkit.errors import InputError, UsageError
from forgetkit.evaluate import EvaluateConfig, evaluate_seeds, pool, rescore
from forgetkit.evaluate.pool import over_seeds
from forgetkit.forget_set import ForgetSet, write_forget_set
from forgetkit.report import report
from forgetkit.results import Estimate, Metric, Results, load_results, rate
from forgetkit.unlearn import UnlearnConfig, unlearn_seeds
from forgetkit_cli.main import app

RULES: dict[str, Any] = {"acceptance": {"leak_rate": None, "leak_rate_unseen": None}}
SETTINGS = {"dtype": "float32", "bootstrap": 100, "answer_tokens": 4, "retain_answer_tokens": 4}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a target model, a forget set and two seeds of unlearning."""
    folder = tmp_path_factory.mktemp("pool")
    tiny.save(tiny.know(tiny.tiny_language_model(), tiny.PASSAGES, steps=60), folder / "target")
    rows = [tiny.text(p[:20], p[20:]) for p in tiny.PASSAGES]
    plain = [tiny.text(p[:20], p[20:]) for p in tiny.ORDINARY]
    other = [tiny.text(p[:20], p[20:]) for p in tiny.ELSEWHERE]
    splits = {"forget": rows, "mismatch": [], "retain": plain, "holdout": other}
    probes = {"retain": plain, "general": plain, "prompts": rows[:2]}
    write_forget_set(folder / "set", ForgetSet(splits, probes), "x")
    config = UnlearnConfig(
        method="ga", steps=2, batch_size=2, learning_rate=0.02, watch_every=0, dtype="float32"
    )
    unlearn_seeds(str(folder / "target"), folder / "set", folder / "runs", 2, config=config)
    return folder


def test_every_seed_is_evaluated_and_their_mean_is_judged(place: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(**SETTINGS | RULES)
    target, out = str(place / "target"), tmp_path / "out"
    done = evaluate_seeds(target, place / "set", place / "runs", out, config=config)
    each = [load_results(out / f"seed-{n}" / "results.json") for n in (0, 1)]
    values = [one.metric("probability").after.value or 0.0 for one in each]
    assert values[0] != values[1]
    pooled = done.results.metric("probability")
    assert pooled.after.value == pytest.approx(sum(values) / 2)
    assert pooled.after.n == 8
    assert (pooled.after.low or 0.0) < min(values)
    assert pooled.before == each[0].metric("probability").before
    assert done.results.metric("extraction_strength").threshold
    assert done.results.notes[0].startswith("Pooled over 2 seeds")
    assert load_results(out / "results.json").metrics == done.results.metrics
    assert {pair["seed"] for pair in done.results.pairs} == {0, 1}
    assert report(out, tmp_path / "report.html").is_file()
    assert evaluate_seeds(target, place / "set", place / "runs", out, config=config).seconds == 0
    assert not (out / "before").exists()
    written = [path.read_bytes() for path in sorted(out.rglob("results.json"))]
    for path in (out / "seed-1" / "results.json", out / "results.json"):
        path.write_bytes(path.read_bytes().replace(b'"after": {', b'"after":  {'))
    rescore(out)
    assert [path.read_bytes() for path in sorted(out.rglob("results.json"))] == written
    assert " --runs " in str(done.results.provenance["command"])
    other = tiny.save(tiny.tiny_language_model(seed=5), tmp_path / "other")
    with pytest.raises(UsageError, match="--out"):
        evaluate_seeds(other, place / "set", place / "runs", out, config=config)


def test_the_command_pools_runs(place: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(json.dumps({"evaluate": SETTINGS | RULES}))
    call = ["evaluate", "--model", str(place / "target"), "--runs", str(place / "runs")]
    call += ["--forget-set", str(place / "set"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*call, "--config", str(tmp_path / "settings.yaml"), "--json"])
    assert done.exit_code == 4, done.output
    assert set(json.loads(done.stdout)["outputs"]) == {"results"}
    wrong = CliRunner().invoke(app, [*call, "--before", "x"]).exception
    assert isinstance(wrong, UsageError)
    with pytest.raises(InputError, match="holds no seeds"):
        evaluate_seeds("x", place / "set", place / "set", tmp_path / "other")


def result(value: float | None) -> Results:
    metric = Metric("utility", "retain", "higher", after=Estimate(value, 10, reason="no rows"))
    return Results((metric,), None, {"before": {}}, {"kind": "text"}, {})


def test_the_interval_is_that_of_students_t_over_seeds() -> None:
    """Mean .6, deviation .1, three seeds: .6 +- 4.303 * .1 / sqrt(3)."""
    found = over_seeds([Estimate(v, 10) for v in (0.5, 0.6, 0.7)], [0, 1, 2])
    assert found.value == pytest.approx(0.6)
    assert found.low == pytest.approx(0.6 - 4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert found.high == pytest.approx(0.6 + 4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert over_seeds([Estimate(0.5, 10, 0.4, 0.6)], [0]) == Estimate(0.5, 10, 0.4, 0.6)


def test_a_rate_over_seeds_keeps_what_its_probes_leave_open() -> None:
    """No leak in 3 x 60 probes is at most 2.1 % by Wilson; Student's interval is a point there."""
    none = over_seeds([rate([False] * 60)] * 3, [0, 1, 2])
    assert (none.value, none.n) == (0.0, 180)
    assert (none.low, none.high) == pytest.approx((0.0, 0.0209), abs=1e-4)
    some = [rate([True] * n + [False] * 50) for n in (0, 1, 0)]
    found = over_seeds(some, [0, 1, 2])
    assert found.low == 0.0
    assert (found.high or 0.0) > 0.03
    apart = over_seeds([rate([True] * 60), rate([False] * 60)], [0, 1])
    assert (apart.low, apart.high) == (0.0, 1.0)


def test_a_mean_over_seeds_is_no_rate() -> None:
    assert over_seeds([Estimate(0.0, 60, 0.0, 0.0)] * 3, [0, 1, 2]).high == 0.0
    assert over_seeds([Estimate(3.5, 60, 3.4, 3.6)] * 3, [0, 1, 2]).high == 3.5


@pytest.mark.parametrize("name", ["utility_p_value", "forget_quality"])
def test_a_p_value_over_seeds_is_the_median_without_an_interval(name: str) -> None:
    def of(value: float | None) -> Results:
        metric = Metric(name, "retain", "none", after=Estimate(value, 10, reason="no rows"))
        return Results((metric,), None, {"before": {}}, {"kind": "text"}, {})

    config = EvaluateConfig(acceptance=dict.fromkeys(EvaluateConfig().rules("text")))
    found = pool([of(0.001), of(0.5), of(0.02)], [0, 1, 2], config).metric(name).after
    assert found == Estimate(0.02, 30)
    assert pool([of(0.5), of(None)], [0, 1], config).metric(name).after.reason == "seed 1: no rows"


def test_a_metric_that_one_seed_lacks_is_null_and_fails() -> None:
    usual = dict.fromkeys(EvaluateConfig().rules("text"))
    config = EvaluateConfig(acceptance=usual | {"utility": {"min": 0.5}})
    found = pool([result(0.9), result(None)], [4, 5], config)
    assert found.metric("utility").after.reason == "seed 5: no rows"
    assert found.verdict == "fail"
    assert pool([result(0.9), result(0.8)], [4, 5], config).verdict == "pass"
