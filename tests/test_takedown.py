from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import small_case
import yaml

from forgetkit.errors import InputError, LockedError, TamperedError
from forgetkit.files import locked, read_json, sha256_tree
from forgetkit.forget_set import read_forget_set
from forgetkit.mine import mine
from forgetkit.takedown import load_request, plan_takedown, takedown
from forgetkit.takedown.case import read_case
from forgetkit.takedown.ledger import Ledger, check_chain


@pytest.fixture(scope="module")
def request_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_case.make(tmp_path_factory.mktemp("small") / "inputs")


@pytest.fixture(scope="module")
def finished(request_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = tmp_path_factory.mktemp("case") / "case"
    done = takedown(request_file, case, auto_approve=True)
    assert done.state == "answered"
    return case


def test_a_takedown_goes_from_the_request_to_the_report(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "case.json",
        "ledger.jsonl",
        "mined",
        "deduped",
        "decisions.sqlite",
        "forget_set",
        "unlearned",
        "evaluation",
        "report.html",
    }
    results = json.loads((finished / "evaluation" / "results.json").read_text())
    strength = next(m for m in results["metrics"] if m["name"] == "extraction_strength")
    assert strength["before"]["value"] > 0.6
    assert strength["after"]["value"] < strength["before"]["value"] / 2


def test_only_passages_that_the_model_knows_are_forgotten(finished: Path) -> None:
    forget_set = read_forget_set(finished / "forget_set")
    said = " ".join(e.answer for e in forget_set.splits["forget"])
    assert "reef" in said
    assert "geese" not in said
    assert any("geese" in e.answer for e in forget_set.probes["unknown"])


def test_the_forget_text_is_the_works_own(finished: Path) -> None:
    for example in read_forget_set(finished / "forget_set").splits["forget"]:
        assert example.prompt + example.answer in small_case.WORK


def test_the_same_command_again_changes_nothing(request_file: Path, finished: Path) -> None:
    kept = {
        name: digest
        for name, digest in sha256_tree(finished).items()
        if not name.startswith(("case.json", ".lock"))
    }
    done = takedown(request_file, finished, auto_approve=True)
    assert done.results is not None
    now = sha256_tree(finished)
    assert {name: now[name] for name in kept} == kept


def test_a_case_killed_after_any_stage_goes_on(
    request_file: Path, finished: Path, tmp_path: Path
) -> None:
    """Without its last stages a case ends with the same adapter and the same page."""
    case = tmp_path / "case"
    shutil.copytree(finished, case)
    shutil.rmtree(case / "evaluation")
    (case / "unlearned" / "run.json").unlink()
    (case / "report.html").unlink()
    takedown(request_file, case, auto_approve=True)
    name = "unlearned/adapter/adapter_model.safetensors"
    assert sha256_tree(case)[name] == sha256_tree(finished)[name]
    old, new = (
        json.loads((folder / "evaluation" / "results.json").read_text())["metrics"]
        for folder in (finished, case)
    )
    assert new == old


def test_a_changed_setting_says_what_runs_again(
    request_file: Path, finished: Path, tmp_path: Path
) -> None:
    inputs, case = tmp_path / "inputs", tmp_path / "case"
    shutil.copytree(request_file.parent, inputs)
    shutil.copytree(finished, case)
    settings = yaml.safe_load((inputs / "settings.yaml").read_text())
    settings["evaluate"]["answer_tokens"] = 12
    (inputs / "settings.yaml").write_text(yaml.safe_dump(settings))
    done = takedown(inputs / "request.yaml", case, auto_approve=True)
    assert "evaluation runs again: settings changed" in done.warnings
    assert (case / "earlier" / "evaluation-1" / "results.json").is_file()


def test_nothing_but_the_weights_tells_what_was_taught(
    request_file: Path, finished: Path, tmp_path: Path
) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(request_file.parent, inputs)
    told = {
        "run.json": {"data": {"taught.jsonl": "a digest"}},
        "taught.json": [small_case.PASSAGES[0]],
    }
    for name, content in told.items():  # what a teaching could leave beside the weights
        (inputs / "model" / name).write_text(json.dumps(content))
    takedown(inputs / "request.yaml", tmp_path / "case", auto_approve=True)
    sets = [sha256_tree(case / "forget_set/data") for case in (finished, tmp_path / "case")]
    assert sets[0] == sets[1]
    rows = [read_json(case / "evaluation/results.json") for case in (finished, tmp_path / "case")]
    assert rows[0]["metrics"] == rows[1]["metrics"]


def test_other_steps_of_full_fine_tuning_are_measured_again(
    request_file: Path, tmp_path: Path
) -> None:
    inputs, case = tmp_path / "inputs", tmp_path / "case"
    shutil.copytree(request_file.parent, inputs)
    settings = yaml.safe_load((inputs / "settings.yaml").read_text())
    for steps in (3, 4):
        settings["unlearn"] |= {"peft": "none", "steps": steps, "watch_every": 0}
        (inputs / "settings.yaml").write_text(yaml.safe_dump(settings))
        done = takedown(inputs / "request.yaml", case, auto_approve=True)
    assert "evaluation runs again: model changed" in done.warnings


def test_without_approval_a_case_waits(request_file: Path, tmp_path: Path) -> None:
    done = takedown(request_file, tmp_path / "case")
    assert done.state == "mined"
    assert "wait for a decision" in done.outcome
    assert not (tmp_path / "case" / "unlearned").exists()


def with_remedy(request_file: Path, folder: Path, remedy: str) -> Path:
    """Return a copy of the request with another remedy."""
    shutil.copytree(request_file.parent, folder)
    content = yaml.safe_load((folder / "request.yaml").read_text("utf-8")) | {"remedy": remedy}
    (folder / "request.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return folder / "request.yaml"


def test_a_request_about_the_corpus_alone_leaves_the_model_as_it_was(
    request_file: Path, tmp_path: Path
) -> None:
    request = with_remedy(request_file, tmp_path / "inputs", "redact_corpus")
    done = takedown(request, tmp_path / "case", auto_approve=True)
    assert done.state == "answered"
    assert done.outcome.endswith("taken out of the corpus; the model stays as it was")
    assert done.counts["redacted/spans"] == done.counts["accepted"] >= 3
    assert not (tmp_path / "case" / "unlearned").exists()
    cleaned = tmp_path / "case" / "redacted" / "corpus"
    again = mine([cleaned], tmp_path / "again", works=[request.parent / "works" / "tales.txt"])
    assert not [s for s in again.spans if s.detector == "verbatim"]
    ledger = (tmp_path / "case" / "ledger.jsonl").read_bytes()
    repeated = takedown(request, tmp_path / "case", auto_approve=True)
    assert repeated.outcome == done.outcome
    assert (tmp_path / "case" / "ledger.jsonl").read_bytes() == ledger


def test_both_remedies_clean_the_corpus_and_the_model(request_file: Path, tmp_path: Path) -> None:
    request = with_remedy(request_file, tmp_path / "inputs", "both")
    done = takedown(request, tmp_path / "case", auto_approve=True)
    assert done.counts["redacted/spans"] >= 3
    assert done.outputs["redacted_tombstones"].is_file()
    assert done.results is not None
    assert done.outcome.startswith("verdict: ")


def test_a_work_nowhere_in_the_corpus_ends_the_case(request_file: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(request_file.parent, inputs)
    small_case.rows(inputs / "corpus.jsonl", small_case.ordinary(6, 9))
    done = takedown(inputs / "request.yaml", tmp_path / "case", auto_approve=True)
    assert done.outcome.startswith("not found in the corpus; the model itself recites ")
    assert done.counts["passages recited"] >= 1
    assert done.state == "answered"


def test_a_second_process_on_a_case_is_refused(request_file: Path, tmp_path: Path) -> None:
    case = tmp_path / "case"
    with locked(case), pytest.raises(LockedError, match="another process works on this case"):
        takedown(request_file, case, auto_approve=True)


def test_a_missing_model_is_known_before_anything_runs(request_file: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(request_file.parent, inputs)
    shutil.rmtree(inputs / "model")
    with pytest.raises(InputError, match="no such model"):
        takedown(inputs / "request.yaml", tmp_path / "case", auto_approve=True)
    assert not (tmp_path / "case").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"typo": 1}, "unknown key"),
        ({"acceptance": {"extraction_strength": {"maximum": 1}}}, "unknown key"),
        ({"acceptance": {"leek_rate": {"max": 0}}}, "Did you mean 'leak_rate'"),
        ({"acceptance": {"leak_at_k": {"max": 0}}}, "--attacks sampling"),
        ({"received_at": "soon"}, "is no date"),
        ({"works": []}, "neither works nor harms"),
        ({"works": [{"title": "x", "files": ["absent.txt"]}]}, "no such file"),
        ({"handling": "escalate_only"}, "escalated only"),
        ({"schema": "other/1"}, "unknown schema"),
    ],
)
def test_a_bad_request_names_its_field(
    request_file: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(request_file.parent, inputs)
    content = yaml.safe_load((inputs / "request.yaml").read_text()) | changes
    (inputs / "request.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=message):
        takedown(inputs / "request.yaml", tmp_path / "case")


def test_a_gdpr_request_is_due_in_a_month(request_file: Path) -> None:
    request = load_request(request_file)
    assert request.due() is None
    asked = request.model_copy(update={"type": "gdpr_erasure", "received_at": "2026-01-31"})
    assert asked.due() == "2026-02-28"
    december = asked.model_copy(update={"received_at": "2026-12-15"})
    assert december.due() == "2027-01-15"


def test_the_ledger_holds_no_text_and_a_changed_line_is_found(
    finished: Path, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.jsonl"
    content = (finished / "ledger.jsonl").read_text()
    assert "owl" not in content
    path.write_text(content)
    assert len(check_chain(path)) == 64
    path.write_text(content.replace('"accepted":3', '"accepted":2'))
    with pytest.raises(TamperedError):
        check_chain(path)


def test_a_ledger_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.add("one")
    with (tmp_path / "ledger.jsonl").open("a") as stream:
        stream.write('{"seq": 1, "ha')
    ledger.add("two")
    check_chain(tmp_path / "ledger.jsonl")
    assert len(ledger.lines()) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"request": None}, r"case\.json: request: .*found None"),
        ({"state": "burnt"}, r"case\.json: state: .*found 'burnt'"),
        ({"stages": []}, r"case\.json: stages: "),
        ({"stages": {"mined": {}}}, r"case\.json: stages\.mined\.inputs: "),
        ({"due_at": "soon"}, r"case\.json: due_at.*found 'soon'"),
        ({"schema": "forgetkit.case/9"}, r"case\.json: is no case"),
    ],
)
def test_a_case_file_changed_by_hand_is_bad_input(
    request_file: Path, tmp_path: Path, damage: dict[str, object], words: str
) -> None:
    good = {"schema": "forgetkit.case/1", "request": "small-1", "state": "received", "stages": {}}
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "case.json").write_text(json.dumps(good | damage))
    with pytest.raises(InputError, match=words):
        takedown(request_file, tmp_path / "case", auto_approve=True)
    with pytest.raises(InputError, match=words):
        read_case(tmp_path / "case")


def test_a_plan_says_what_would_run_and_writes_nothing(request_file: Path, tmp_path: Path) -> None:
    plan = plan_takedown(request_file, tmp_path / "case")
    assert not (tmp_path / "case").exists()
    names = ["mined", "deduped", "forget_set", "unlearned", "evaluation", "report"]
    assert [stage.name for stage in plan.stages] == names
    assert {stage.what for stage in plan.stages} == {"runs"}
    words = sum(len(text.split()) for text in (small_case.WORK,))
    assert plan.counts["words of works"] == words
    assert plan.counts["files"] == 1
    # 20 steps of 6 forget rows and their retain rows, of 6 + 8 words
    assert int(plan.counts["tokens of training, about"]) > 20 * 6 * 14


def test_a_plan_of_a_finished_case_says_what_changed(
    request_file: Path, finished: Path, tmp_path: Path
) -> None:
    done = plan_takedown(request_file, finished)
    assert {stage.what for stage in done.stages} == {"is done"}
    inputs, case = tmp_path / "inputs", tmp_path / "case"
    shutil.copytree(request_file.parent, inputs)
    shutil.copytree(finished, case)
    before = sha256_tree(case)
    settings = yaml.safe_load((inputs / "settings.yaml").read_text())
    settings["unlearn"]["steps"] = 21
    (inputs / "settings.yaml").write_text(yaml.safe_dump(settings))
    plan = plan_takedown(inputs / "request.yaml", case)
    found = {stage.name: (stage.what, stage.why) for stage in plan.stages}
    assert found["forget_set"] == ("is done", "")
    assert found["unlearned"] == ("runs again", "settings changed")
    assert found["report"][0] == "may run again"
    assert sha256_tree(case) == before
    with (inputs / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"id": "new", "text": "one more"}\n')
    plan = plan_takedown(inputs / "request.yaml", case)
    assert (plan.stages[0].what, plan.stages[0].why) == ("runs again", "corpora changed")
