"""`--dry-run` of build, teach, unlearn and evaluate: the run's checks, and nothing is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from test_build import CONFIG, SPANS, WORK, lines, prose
from test_unlearn import TEACHING, forget_set, passages, run_killed, settings
from typer.testing import CliRunner

from forgetkit.build import BuildConfig, Inputs, build, plan_build
from forgetkit.errors import ForgetkitError, InputError, StorageError, UsageError
from forgetkit.evaluate import EvaluateConfig, evaluate, plan_evaluate
from forgetkit.evaluate.models import Models
from forgetkit.evaluate.sample import read_samples
from forgetkit.files import sha256_tree
from forgetkit.spans import write_spans
from forgetkit.unlearn import plan_teach, plan_unlearn, teach, unlearn
from forgetkit_cli.main import app
from forgetkit_cli.screen import Output


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that knows a forget set, the set, and data to build and teach."""
    folder = tmp_path_factory.mktemp("planned")
    known = tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)
    tiny.save(known, folder / "model")
    forget_set(folder / "set")
    passages(folder / "teach.jsonl", tiny.PASSAGES)
    passages(folder / "mix.jsonl", tiny.ORDINARY)
    write_spans(folder / "spans.parquet", SPANS)
    (folder / "work.txt").write_text(WORK, encoding="utf-8")
    lines(
        folder / "retain.jsonl", [{"id": f"r{n}", "text": prose(f"r{n}q", 20)} for n in range(40)]
    )
    (folder / "holdout").mkdir()
    (folder / "holdout" / "other.txt").write_text(
        " ".join(prose(f"Other{n}x", 20) for n in range(12)), encoding="utf-8"
    )
    return folder


def inputs(place: Path, **changes: Any) -> Inputs:
    named: dict[str, Any] = {
        "spans": place / "spans.parquet",
        "accept_all": True,
        "works": [place / "work.txt"],
        "retain": [place / "retain.jsonl"],
        "holdout": [place / "holdout"],
    }
    return Inputs(**(named | changes))


CALLS: dict[str, tuple[str, ...]] = {
    "unlearn": ("--model", "model", "--forget-set", "set", "--set", "reference_top_k=8"),
    "teach": ("model", "teach.jsonl", "--mix", "mix.jsonl"),
    "evaluate": ("--model", "model", "--before", "model", "--forget-set", "set"),
    "build": (
        *("--spans", "spans.parquet", "--accept-all", "--works", "work.txt", "--model", "model"),
        *("--retain", "retain.jsonl", "--holdout", "holdout"),
    ),
}


@pytest.mark.parametrize("command", CALLS)
def test_a_dry_run_writes_nothing_and_prints_one_object(
    place: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    before = sha256_tree(place)
    call = [command, *CALLS[command], "--out", "out", "--dry-run"]
    done = CliRunner().invoke(app, [*call, "--json"])
    assert done.exit_code == 0, done.exception
    output = Output.model_validate_json(done.stdout)
    assert output.command == command
    assert output.counts["plan"] == "runs"
    shown = CliRunner().invoke(app, call).stdout
    assert all(name in shown for name in output.counts)
    assert not Path("out").exists()
    assert sha256_tree(place) == before


def test_the_plan_of_unlearning_is_what_the_run_does(place: Path, tmp_path: Path) -> None:
    model, data, out = str(place / "model"), place / "set", tmp_path / "out"
    config = settings(merge=True)
    plan = plan_unlearn(model, data, out, config=config)
    pieces = plan_unlearn(model, data, out, config=config.model_copy(update={"shard": True}))
    assert pieces.counts == plan.counts  # planned by one process for several
    run_killed(3, model, data, out, config)
    assert plan_unlearn(model, data, out, config=config).what == "goes on where it stopped"
    run = unlearn(model, data, out, config=config).run
    assert (plan.what, plan.counts["steps, at most"]) == ("runs", run["steps"])
    assert plan.counts["tokens of training, at most"] >= run["tokens"] > 0
    assert plan.counts["parameters"] == run["parameters"]
    assert plan.counts["learning rate"] == run["learning_rate"]
    written = sum(p.stat().st_size for p in out.rglob("*.safetensors")) / 1e6
    assert float(plan.counts["MB on disk, about"]) >= round(written)
    assert plan_unlearn(model, data, out, config=config).what == "is done"
    with pytest.raises(UsageError, match="holds something else"):
        plan_unlearn(model, data, out, config=settings(seed=9))
    three = plan_unlearn(model, data, tmp_path / "three", seeds=3, config=config).counts
    tokens = plan.counts["tokens of training, at most"]
    assert three["tokens of training, at most"] == 3 * int(tokens)


@pytest.mark.parametrize("peft", ["dora", "ia3", "none"])
def test_every_kind_of_training_can_be_planned(place: Path, tmp_path: Path, peft: str) -> None:
    config = settings(peft=peft)
    plan = plan_unlearn(str(place / "model"), place / "set", tmp_path / "out", config=config)
    assert int(plan.counts["trained parameters"]) > 0


def test_the_plan_of_a_preset_holds_its_warning(place: Path, tmp_path: Path) -> None:
    config = settings(method="yao2023")
    plan = plan_unlearn(str(place / "model"), place / "set", tmp_path / "out", config=config)
    assert "the set has 1" in plan.warnings[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "npoo"},
        {"method": "npo", "settings": {"beta": -1}},
        {"layers": (9,)},
        {"targets": ("nowhere",)},
        {"method": "simnpo", "reference_top_k": 8},
        {"dtype": "float17"},
        {"peft": "none", "reference_top_k": 8},
        {"model": "nowhere"},
        {"forget_set": "nowhere"},
    ],
)
def test_what_unlearn_refuses_its_plan_refuses_alike(
    place: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = str(changes.pop("model", place / "model"))
    data = Path(changes.pop("forget_set", place / "set"))
    config, errors = settings(**changes), []
    asks: list[Callable[..., object]] = [plan_unlearn, unlearn]
    for number, ask in enumerate(asks):
        with pytest.raises(ForgetkitError) as found:
            ask(model, data, tmp_path / f"out{number}", config=config)
        errors.append((type(found.value), str(found.value)))
    assert errors[0] == errors[1]


def test_too_little_room_is_said_before_the_run(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(StorageError, match="less room"):
        plan_unlearn(str(place / "model"), place / "set", tmp_path / "a" / "b")


def test_a_folder_that_cannot_be_written_is_said_before_the_run(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the folder is one of a file system that takes no writes."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(StorageError, match="cannot be written"):
        plan_unlearn(str(place / "model"), place / "set", tmp_path / "out")


def test_the_plan_of_teaching_counts_what_is_taught(place: Path, tmp_path: Path) -> None:
    config = TEACHING.model_copy(update={"least": 0.0, "steps": 2})
    given = str(place / "model"), [place / "teach.jsonl"], tmp_path / "out"
    plan = plan_teach(*given, mix=[place / "mix.jsonl"], config=config)
    counts = plan.counts
    assert [counts[n] for n in ("passages", "rows mixed in", "rows to measure on")] == [4, 6, 2]
    teach(*given, mix=[place / "mix.jsonl"], config=config)
    assert plan_teach(*given, mix=[place / "mix.jsonl"], config=config).what == "is done"


@pytest.mark.parametrize("rows", [None, ["alone"]])
def test_what_teach_refuses_its_plan_refuses_alike(
    place: Path, tmp_path: Path, rows: list[str] | None
) -> None:
    data = tmp_path / "data.jsonl"
    if rows is not None:
        passages(data, rows)
    errors = []
    asks: list[Callable[..., object]] = [plan_teach, teach]
    for number, ask in enumerate(asks):
        with pytest.raises(InputError) as found:
            ask(str(place / "model"), [data], tmp_path / f"out{number}")
        errors.append(str(found.value))
    assert errors[0] == errors[1]


MEASURING = EvaluateConfig(dtype="float32", bootstrap=100, answer_tokens=4, retain_answer_tokens=4)


def test_the_plan_of_an_evaluation_counts_what_the_run_measures(
    place: Path, tmp_path: Path
) -> None:
    name, out = str(place / "model"), tmp_path / "out"
    models = Models(name, before=name)
    plan = plan_evaluate(models, place / "set", out, config=MEASURING)
    assert plan.what == "runs"
    results = evaluate(name, place / "set", out, before=name, config=MEASURING)
    samples = read_samples(results.folder / "samples.parquet")
    assert plan.counts["rows to read"] == len(samples)
    said = [sample for sample in samples if sample.completion is not None]
    assert plan.counts["prompts to continue"] == len(said)
    judged = [metric for metric in results.results.metrics if metric.threshold]
    assert int(plan.counts["thresholds, at most"]) >= len(judged) > 5
    assert plan_evaluate(models, place / "set", out, config=MEASURING).what == "is done"


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": Path("nowhere")},
        {"before": "nowhere"},
        {"retain_model": "nowhere"},
        {"acceptance": {"leak": {"max": 0.1}}},
        {"plugin": Path("nowhere.py")},
        {"endpoint": "http://example.org/v1"},
    ],
)
def test_what_evaluate_refuses_its_plan_refuses_alike(
    place: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    acceptance = changes.pop("acceptance", {})
    config = EvaluateConfig(**(MEASURING.model_dump() | {"acceptance": acceptance}))
    name, plugin = str(place / "model"), changes.pop("plugin", None)
    with pytest.raises(ForgetkitError) as planned:
        plan_evaluate(
            Models(name, **changes), place / "set", tmp_path / "a", plugin=plugin, config=config
        )
    with pytest.raises(ForgetkitError) as ran:
        evaluate(name, place / "set", tmp_path / "b", plugin=plugin, config=config, **changes)
    assert (type(planned.value), str(planned.value)) == (type(ran.value), str(ran.value))


def test_rescoring_takes_no_dry_run() -> None:
    found = CliRunner().invoke(app, ["evaluate", "--rescore", "here", "--dry-run"]).exception
    assert isinstance(found, UsageError)


def test_the_plan_of_a_build_counts_its_candidates(place: Path, tmp_path: Path) -> None:
    config = BuildConfig(**(CONFIG | {"allow_unlike_holdout": True}))
    plan = plan_build(inputs(place), tmp_path / "out", config=config)
    built = build(inputs(place), tmp_path / "out", config=config)
    assert plan.counts["forget candidates"] == built.counts["forget"]
    assert plan.counts["spans"] == built.counts["spans"] == 3
    assert plan.counts["retain rows"] == 40
    assert plan_build(inputs(place), tmp_path / "out", config=config).what == "is done"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"accept_all": False}, {}),
        ({"holdout": []}, {}),
        ({"works": [Path("nowhere.txt")]}, {}),
        ({"model": "nowhere"}, {}),
        ({}, {"mismatch": "alternative"}),
        ({}, {"kind": "pair"}),
        ({}, {"least_examples": 1000}),
    ],
)
def test_what_build_refuses_its_plan_refuses_alike(
    place: Path, tmp_path: Path, changes: dict[str, Any], named: dict[str, Any]
) -> None:
    given = inputs(place, **changes)
    config = BuildConfig(**(CONFIG | {"allow_unlike_holdout": True} | named))
    errors = []
    asks: list[Callable[..., object]] = [plan_build, build]
    for number, ask in enumerate(asks):
        with pytest.raises(ForgetkitError) as found:
            ask(given, tmp_path / f"out{number}", config=config)
        errors.append((type(found.value), str(found.value)))
    assert errors[0] == errors[1]
