from __future__ import annotations

import json
import shlex
import shutil
from html import escape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tiny

import forgetkit.evaluate.measure as measuring
import forgetkit.evaluate.models as models
import forgetkit.evaluate.stage as stage
from forgetkit.config import resolve
from forgetkit.errors import InputError, UsageError
from forgetkit.evaluate import EvaluateConfig, EvaluateResult, Rule, evaluate, rescore
from forgetkit.evaluate.sample import read_samples, write_samples
from forgetkit.forget_set import Example, ForgetSet, write_forget_set
from forgetkit.report import report
from forgetkit.results import load_results
from forgetkit_cli.options import given

CONFIG = EvaluateConfig(
    dtype="float32",
    bootstrap=100,
    answer_tokens=12,
    retain_answer_tokens=8,
    least_membership=4,
    acceptance={"fluency": None, "leak_rate": Rule(max=0.3)},
)


def texts(passages: tuple[str, ...], cut: int = 20) -> list[Example]:
    return [tiny.text(p[:cut], p[cut:], source=f"{cut}") for p in passages]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a target, an unlearned and a retain model, and a set with other answers."""
    folder = tmp_path_factory.mktemp("rescore")
    tiny.save(tiny.know(tiny.tiny_language_model(), tiny.PASSAGES, steps=60), folder / "target")
    tiny.save(tiny.tiny_language_model(seed=1), folder / "after")
    tiny.save(tiny.tiny_language_model(seed=2), folder / "retain")
    forget = texts(tiny.PASSAGES)
    other = [
        tiny.text(e.prompt, wrong, pair_of=e.example_id, variant="perturbed")
        for e in forget
        for wrong in (" is not so.", " was never told.")
    ]
    write_forget_set(
        folder / "set",
        ForgetSet(
            {
                "forget": forget,
                "mismatch": [],
                "retain": texts(tiny.ORDINARY),
                "holdout": texts(tiny.ELSEWHERE),
            },
            {
                "retain": texts(tiny.ORDINARY, 12),
                "general": texts(tiny.ORDINARY, 8),
                "prompts": texts(tiny.PASSAGES, 15),
                "others": other,
            },
        ),
        "x",
    )
    return folder


def run(place: Path, out: Path, **named: Any) -> EvaluateResult:
    return evaluate(
        str(place / "after"),
        place / "set",
        out,
        before=str(place / "target"),
        config=CONFIG,
        **named,
    )


def test_rescoring_gives_the_same_bytes_without_a_model(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place, tmp_path, retain_model=str(place / "retain"))
    expected = (tmp_path / "results.json").read_bytes()
    results = load_results(tmp_path / "results.json")
    measured = [m.name for m in results.metrics if m.after.value is not None]
    assert {"membership_min_k_plus", "truth_ratio", "privacy_leakage"} <= set(measured)
    assert results.metric("extraction_strength").control.n == 4

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr("forgetkit.lm.load.load_model", refuse)
    (tmp_path / "results.json").write_bytes(expected.replace(b'"after": {', b'"after":  {'))
    rescore(tmp_path)
    assert (tmp_path / "results.json").read_bytes() == expected


def test_samples_written_and_read_are_the_same(place: Path, tmp_path: Path) -> None:
    run(place, tmp_path)
    samples = read_samples(tmp_path / "samples.parquet")
    write_samples(tmp_path / "again.parquet", samples)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "samples.parquet").read_bytes()
    table = pq.read_table(tmp_path / "samples.parquet").to_pylist()
    assert [s.example.example_id for s in samples] == [r["example_id"] for r in table]
    forget = [r for r in table if r["split"] == "forget"]
    assert all(len(r["deviation"]) == len(r["log_probability"]) > 0 for r in forget)


def test_a_folder_without_samples_cannot_be_rescored(place: Path, tmp_path: Path) -> None:
    run(place, tmp_path)
    (tmp_path / "samples.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="is no samples file"):
        rescore(tmp_path)


def edited(place: Path, out: Path, change: dict[str, Any]) -> None:
    """Copy an evaluation and change its `results.json`."""
    if not (place / "done").exists():
        run(place, place / "done")
    shutil.copytree(place / "done", out)
    content = json.loads((out / "results.json").read_text())
    for name, value in change.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    (out / "results.json").write_text(json.dumps(content))


def test_a_threshold_that_was_taken_away_stays_away(place: Path, tmp_path: Path) -> None:
    """The stored thresholds are all there were; the usual ones of an attack do not come back."""
    report = {"name": "relearn", "rows": [], "reason": "too few rows"}
    change = {"attacks": [report], "configuration": {"attacks": ["relearn"]}}
    edited(place, tmp_path / "out", change)
    found = rescore(tmp_path / "out")
    assert found.metric("attack_relearn").after.reason == "too few rows"
    assert found.metric("attack_relearn").verdict is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"configuration": {"kind": None}}, "configuration.kind: is none of text, pair, fact"),
        ({"configuration": {"acceptance": None}}, "configuration.acceptance: is no mapping"),
        ({"configuration": {"dtipe": "x"}}, "configuration: dtipe: unknown key. Did you mean"),
        ({"configuration": {"answer_tokens": "few"}}, "answer_tokens: .*; found 'few'"),
        ({"configuration": {"acceptance": {"utility": {"mini": 1}}}}, "mini: unknown key"),
        ({"attacks": [{"rows": []}]}, "results.json: attacks: is damaged.* TypeError"),
        ({"attacks": [{"name": "relearn"}]}, "attacks: is damaged.*'rows'"),
        ({"tasks": [{"task": "mmlu"}]}, "tasks: is damaged.*'measure'"),
        ({"provenance": {"seeds": ["a"]}}, "provenance.seeds: is no list of seeds"),
    ],
)
def test_results_of_another_version_cannot_be_rescored_and_the_place_is_named(
    place: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    edited(place, tmp_path / "out", change)
    with pytest.raises(InputError, match=words):
        rescore(tmp_path / "out")


def test_the_command_of_an_evaluation_stands_in_its_results_and_in_the_report(
    place: Path, tmp_path: Path
) -> None:
    done = run(place, tmp_path / "out")
    command = str(done.results.provenance["command"])
    words = shlex.split(command)
    assert words[:2] == ["forgetkit", "evaluate"]
    assert f"{place.name}/after" in words  # the folders above it are this machine's
    assert "--retain-model" not in words
    flags = dict(zip(words[2::2], words[3::2], strict=True))
    settings = [v for flag, v in zip(words[2::2], words[3::2], strict=True) if flag == "--set"]
    assert resolve(EvaluateConfig, "evaluate", given(settings)) == CONFIG
    assert flags["--forget-set"].endswith("/set")
    page = report(tmp_path / "out", tmp_path / "report.html").read_text(encoding="utf-8")
    assert escape(command, quote=False)[:60] in page


def test_the_retain_model_is_the_control_and_its_absence_is_said(
    place: Path, tmp_path: Path
) -> None:
    with_it = run(place, tmp_path / "a", retain_model=str(place / "retain")).results
    without = run(place, tmp_path / "b").results
    assert with_it.models["retain_model"]["name"].endswith("retain")
    assert with_it.metric("forget_quality").after.reason == "fewer than 20 rows"
    assert without.metric("forget_quality").after.reason == "no retain model was given"
    assert any("No retain model" in note for note in without.notes)
    assert not any("No retain model" in note for note in with_it.notes)


def test_an_interrupted_evaluation_goes_on_with_what_is_missing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place, tmp_path / "whole")
    real, calls = measuring._read, []

    def failing(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(measuring, "_read", failing)
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path / "cut")
    assert len(list((tmp_path / "cut" / ".parts").iterdir())) > 4
    calls.clear()
    calls += [1] * 10
    opened: list[str] = []
    opener = models.opener

    def watched(name: str, *rest: Any) -> Any:
        load = opener(name, *rest)

        def loading() -> Any:
            opened.append(name)
            return load()

        return loading

    monkeypatch.setattr(models, "opener", watched)
    run(place, tmp_path / "cut")
    assert len(calls) == 12  # of six units of two models only the last two are read now
    for name in ("results.json", "samples.parquet"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / ".parts").exists()


def test_other_thresholds_do_not_measure_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "accept", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(measuring, "_read", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(measuring, "say", lambda *_: pytest.fail("said again"))
    changed = CONFIG.model_copy(update={"acceptance": {"utility": Rule(min=0.1)}})
    values: dict[str, Any] = {"before": str(place / "target"), "config": changed}
    found = evaluate(str(place / "after"), place / "set", tmp_path, **values).results
    assert found.configuration["acceptance"]["utility"] == {"min": 0.1}
    with pytest.raises(UsageError, match="--out"):  # thresholds are fixed before the run
        run(place, tmp_path)


def test_a_damaged_part_is_measured_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "add_fluency", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path / "cut")
    for part in (tmp_path / "cut" / ".parts").iterdir():
        part.write_bytes(b"broken")
    monkeypatch.undo()
    run(place, tmp_path / "cut")
    run(place, tmp_path / "whole")
    assert (tmp_path / "cut" / "results.json").read_bytes() == (
        tmp_path / "whole" / "results.json"
    ).read_bytes()
