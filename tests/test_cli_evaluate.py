"""The flags of `forgetkit evaluate` that need no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tiny
from typer.testing import CliRunner

from forgetkit.errors import ForgetkitError, InputError, UsageError
from forgetkit.evaluate import EvaluateConfig, evaluate
from forgetkit.forget_set import ForgetSet, write_forget_set
from forgetkit.results import Estimate, Metric, Results
from forgetkit_cli.main import app
from forgetkit_cli.models import metric_table
from forgetkit_cli.screen import Output


def fails(*arguments: object) -> BaseException | None:
    return CliRunner().invoke(app, [str(a) for a in arguments]).exception


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("--forget-set", "set", "--out", "out"), UsageError, "Missing option '--model'"),
        (("--model", "m", "--out", "out"), UsageError, "Missing option '--forget-set'"),
        (("--model", "m", "--forget-set", "s"), UsageError, "Missing option '--out'"),
        (("--rescore", "here", "--model", "m"), UsageError, "reads what was measured"),
        (("--rescore", "here", "--attacks", "all"), UsageError, "found --attacks"),
        (
            ("--rescore", "here", "--seed", "0", "--set", "bootstrap=200"),
            UsageError,
            "--set, --seed",
        ),
        (("--rescore", "here", "--tasks", "a", "--config", "c"), UsageError, "--tasks, --config"),
        (("--rescore", "nowhere"), InputError, "no such file"),
        (
            ("--model", "m", "--forget-set", "s", "--out", "o", "--attacks", "quantise"),
            UsageError,
            "Did you mean 'quantize'",
        ),
    ],
)
def test_a_wrong_call_says_what_is_missing(
    arguments: tuple[str, ...], kind: type[ForgetkitError], words: str
) -> None:
    found = fails("evaluate", *arguments)
    assert isinstance(found, kind)
    assert words in str(found)


def test_rescore_prints_the_metrics_of_the_folder(tmp_path: Path) -> None:
    rows = [tiny.text(p[:20], p[20:]) for p in tiny.PASSAGES]
    splits = {"forget": rows, "mismatch": [], "retain": rows[:1], "holdout": rows[1:]}
    write_forget_set(tmp_path / "set", ForgetSet(splits, {"general": rows}), "x")
    model = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    config = EvaluateConfig(dtype="float32", bootstrap=100, answer_tokens=4)
    evaluate(model, tmp_path / "set", tmp_path / "out", config=config)
    done = CliRunner().invoke(app, ["evaluate", "--rescore", str(tmp_path / "out"), "--json"])
    output = Output.model_validate_json(done.stdout)
    assert done.exit_code == 0
    assert output.metrics["extraction_strength"].n == 4
    assert Path(output.outputs["samples"]).is_file()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    rows = [tiny.text(p[:20], p[20:]) for p in tiny.PASSAGES]
    other = [tiny.text(p[:20], p[20:]) for p in tiny.ELSEWHERE]
    splits = {"forget": rows, "mismatch": [], "retain": rows[:1], "holdout": other}
    write_forget_set(folder / "set", ForgetSet(splits, {"general": other, "retain": other}), "x")
    tiny.save(tiny.tiny_language_model(), folder / "model")
    return folder


def attack(place: Path, out: Path, *arguments: str) -> Any:
    given = ("--model", place / "model", "--forget-set", place / "set", "--out", out, "--json")
    settings = ("--set", "dtype=float32", "--set", "bootstrap=100", "--set", "answer_tokens=4")
    return CliRunner().invoke(app, ["attack", *map(str, (*arguments, *given, *settings))])


def test_attack_measures_and_judges_what_the_attacks_need_alone(
    place: Path, tmp_path: Path
) -> None:
    out, settings = tmp_path / "out", tmp_path / "settings.yaml"
    settings.write_text("evaluate: {acceptance: {utility: {min: 0.9}}, attacks: [relearn]}")
    named = ("--before", str(place / "model"), "--config", str(settings))
    done = attack(place, out, "quantize", "detach", *named)
    assert done.exit_code == 0, done.output
    output = Output.model_validate_json(done.stdout)
    assert (output.command, output.verdict) == ("attack", "pass")
    judged = {name for name, row in output.metrics.items() if row.verdict}
    assert judged == {"attack_quantize"}
    read = {row["split"] for row in pq.read_table(out / "samples.parquet").to_pylist()}
    assert read == {"forget"}
    results = (out / "results.json").read_bytes()
    assert b"Only the forget split and the attacks were measured." in results
    assert CliRunner().invoke(app, ["evaluate", "--rescore", str(out)]).exit_code == 0
    assert (out / "results.json").read_bytes() == results


def test_an_attack_that_succeeds_exits_4_and_an_unknown_one_names_the_nearest(
    place: Path, tmp_path: Path
) -> None:
    strict = ("--set", "acceptance.attack_quantize.max=-1", "--before", str(place / "model"))
    assert attack(place, tmp_path / "out", "quantize", *strict).exit_code == 4
    found = attack(place, tmp_path / "other", "quantise").exception
    assert isinstance(found, UsageError)
    assert "Did you mean 'quantize'" in str(found)


def test_metrics_are_listed_with_direction_version_and_worked_value() -> None:
    done = CliRunner().invoke(app, ["list", "metrics", "--json"])
    listed = {e["name"]: e for e in Output.model_validate_json(done.stdout).entries}
    assert listed["extraction_strength"]["better"] == "lower"
    assert listed["extraction_strength"]["version"] == 1
    assert "2 of 4 = .5" in listed["extraction_strength"]["worked"]
    for form in ("int8", "int4", "nf4"):
        entry = listed[f"attack_quantize_{form}"]
        assert entry["better"] == "lower"
        assert entry["source"]
        assert entry["worked"]


def test_the_table_shows_what_was_computed_or_judged_and_counts_the_rest() -> None:
    metrics = (
        Metric("utility", "retain", "higher", after=Estimate(0.97)),
        Metric("leak_rate", "forget", "lower", threshold="at most 0", verdict="fail"),
        Metric("truth_ratio", "forget", "none"),
        Metric("similarity", "forget", "none"),
    )
    table = metric_table(Results(metrics, "fail", {}, {}, {}))
    assert table.row_count == 2  # a judged metric without a value cannot be overlooked
    assert table.caption == "2 more could not be computed; results.json says why"
    assert metric_table(Results(metrics[:2], "fail", {}, {}, {})).caption is None
