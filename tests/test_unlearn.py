from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny

from forgetkit.config import parse, resolve
from forgetkit.errors import AcceptanceError, InputError, UsageError
from forgetkit.files import sha256_file, sha256_tree
from forgetkit.forget_set import Example, ForgetSet, read_forget_set, write_forget_set
from forgetkit.lm.adapter import load_adapter
from forgetkit.lm.load import LanguageModel, load_model
from forgetkit.lm.score import extraction_strength, score
from forgetkit.lm.train import Outcome
from forgetkit.registry import entries
from forgetkit.unlearn import (
    TeachConfig,
    UnlearnConfig,
    UnlearnResult,
    make_method,
    teach,
    unlearn,
    unlearn_seeds,
)
from forgetkit.unlearn.assembly import check_method, objective
from forgetkit.unlearn.delivery import commit_of, record, vllm_takes
from forgetkit.unlearn.dual import UtilityKept
from forgetkit.unlearn.ranges import RANGES

CUT = 20


def examples(texts: Sequence[str]) -> list[Example]:
    return [tiny.text(t[:CUT], t[CUT:], group=t[:8]) for t in texts]


def forget_set(
    folder: Path,
    retain: Sequence[str] = tiny.ORDINARY,
    kinds: Sequence[str] = ("ordinary", "refusal", "alternative"),
) -> Path:
    forget = examples(tiny.PASSAGES)
    other = examples(tiny.ORDINARY[4:])
    mismatch = [
        tiny.text(f.prompt, o.answer, variant=kind, pair_of=f.example_id)
        for kind in kinds
        for f, o in zip(forget, other, strict=True)
    ]
    splits = {
        "forget": forget,
        "mismatch": mismatch,
        "retain": examples(retain),
        "holdout": examples(tiny.ELSEWHERE),
    }
    write_forget_set(folder, ForgetSet(splits, {"retain": examples(retain)}), "# A set\n")
    return folder


def settings(**named: Any) -> UnlearnConfig:
    values: dict[str, Any] = {
        "steps": 6,
        "batch_size": 4,
        "retain_share": 1.0,
        "learning_rate": 5e-3,
        "utility_floor": 0.0,
        "dtype": "float32",
        "watch_every": 3,
    }
    return UnlearnConfig(**(values | named))


def strength(language_model: LanguageModel, texts: Sequence[str] = tiny.PASSAGES) -> float:
    found = score(language_model, examples(texts))
    return sum(extraction_strength(s.argmax_hit) or 0.0 for s in found) / len(found)


@pytest.fixture(scope="module")
def done(model: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> UnlearnResult:
    out = tmp_path_factory.mktemp("unlearned") / "out"
    return unlearn(model, data, out, config=settings(merge=True))


def test_unlearning_lowers_extraction_strength(model: str, done: UnlearnResult) -> None:
    before = load_model(model, dtype="float32")
    assert strength(before) == 1.0
    assert strength(load_adapter(before, done.adapter)) < 0.5
    assert strength(load_model(model, dtype="float32"), tiny.ORDINARY) == 1.0


def test_exactly_these_files_are_written(done: UnlearnResult) -> None:
    files = {p.relative_to(done.adapter.parent).as_posix() for p in done.adapter.parent.rglob("*")}
    assert files == {
        ".run.json.started",
        "adapter",
        "adapter/README.md",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "model",
        "model/README.md",
        "model/config.json",
        "model/generation_config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/tokenizer_config.json",
        "run.json",
    }


def test_the_cards_say_what_was_done_and_show_no_text(done: UnlearnResult) -> None:
    assert done.model
    for folder, words in ((done.adapter, "detaches it"), (done.model, "merged weights against")):
        card = (folder / "README.md").read_text("utf-8")
        assert words in card
        assert done.run["forget_set_sha256"] in card
        assert "ihl" in card
        assert "stair" not in card


def test_gradient_checkpointing_trains_the_same_adapter(
    model: str, data: Path, done: UnlearnResult, tmp_path: Path
) -> None:
    """Trap 7: it trains something, and the same."""
    again = unlearn(model, data, tmp_path / "out", config=settings(gradient_checkpointing=True))
    for one, other in zip(done.run["history"], again.run["history"], strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-2, abs=1e-3)
    assert again.run["history"][-1]["losses"] != done.run["history"][1]["losses"]


def test_the_run_says_what_was_done(model: str, done: UnlearnResult) -> None:
    run = json.loads((done.adapter.parent / "run.json").read_text("utf-8"))
    assert run == done.run
    assert run["method"] == "ihl"
    assert run["base"] == model
    assert run["steps"] == 6
    assert run["best_step"] in (3, 6)
    assert [row["step"] for row in run["history"] if "utility" in row] == [0, 3, 6]
    assert "stair" not in json.dumps(run)  # no protected text


def test_the_merged_model_says_what_the_adapter_says(model: str, done: UnlearnResult) -> None:
    """Trap 10, trap 11: the knowledge is gone from the merged weights themselves."""
    assert done.model is not None
    through = score(
        load_adapter(load_model(model, dtype="float32"), done.adapter), examples(tiny.PASSAGES)
    )
    merged = score(load_model(str(done.model), dtype="float32"), examples(tiny.PASSAGES))
    for one, other in zip(through, merged, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-3)


def test_a_second_call_does_nothing(model: str, data: Path, done: UnlearnResult) -> None:
    before = sha256_tree(done.adapter.parent)
    again = unlearn(model, data, done.adapter.parent, config=settings(merge=True))
    assert again.seconds == 0
    assert again.model == done.model
    assert sha256_tree(done.adapter.parent) == before


def test_other_settings_do_not_take_the_folder(model: str, data: Path, done: UnlearnResult) -> None:
    with pytest.raises(UsageError, match="holds something else"):
        unlearn(model, data, done.adapter.parent, config=settings(rank=4))


def test_a_killed_run_starts_again_and_ends_the_same(
    model: str, data: Path, done: UnlearnResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed gives the same bits, so nothing shows that the first try was killed."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("forgetkit.lm.adapter.save_adapter", killed)
        with pytest.raises(KeyboardInterrupt):
            unlearn(model, data, out, config=settings(merge=True))
    assert {p.name for p in out.iterdir()} == {".run.json.started", "state.pt"}
    (out / "adapter").mkdir()
    (out / "adapter" / "half").write_text("written")
    again = unlearn(model, data, out, config=settings(merge=True))
    assert again.seconds > 0
    assert not (out / "adapter" / "half").exists()
    weights = "adapter_model.safetensors"
    assert sha256_file(again.adapter / weights) == sha256_file(done.adapter / weights)


def test_another_seed_gives_another_adapter(
    model: str, data: Path, done: UnlearnResult, tmp_path: Path
) -> None:
    other = unlearn(model, data, tmp_path / "out", config=settings(seed=1))
    weights = "adapter_model.safetensors"
    assert other.model is None
    assert sha256_file(other.adapter / weights) != sha256_file(done.adapter / weights)


STRONG: dict[str, dict[str, float]] = {
    "jensun": {"retain_jsd": 0.0},
    "rmu": {"retain_states": 0.0},
    "task_vector": {"scale": 3.0, "retain_nll": 0.0, "retain_kl": 0.0},
    "pdu": {"retain_nll": 0.1},
}
EVERY = [e.name for e in entries("methods") if e.name not in ("ihl", "yao2023")]


@pytest.mark.parametrize("method", EVERY)
def test_every_method_forgets(model: str, data: Path, tmp_path: Path, method: str) -> None:
    chosen = {"forget_weight": 1.0} | STRONG.get(method, {})
    config = settings(method=method, steps=12, settings=chosen, learning_rate=1e-2)
    found = unlearn(model, data, tmp_path / "out", config=config)
    assert strength(load_adapter(load_model(model, dtype="float32"), found.adapter)) < 0.6


@pytest.mark.parametrize("method", ["idk", "altpo", "dpo", "yao"])
def test_a_missing_kind_of_mismatch_says_how_to_build_it(
    model: str, tmp_path: Path, method: str
) -> None:
    have = "refusal" if method == "dpo" else "ordinary"
    data = forget_set(tmp_path / "set", kinds=() if method == "yao" else (have,))
    kind = {"idk": "refusal", "altpo": "alternative"}.get(method, "ordinary")
    with pytest.raises(InputError, match=f"{method} needs .* {kind}; .* --mismatch {kind}"):
        unlearn(model, data, tmp_path / "out", config=settings(method=method))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("peft", ["rslora", "dora", "ia3"])
def test_every_kind_of_adapter_forgets_and_merges(
    model: str, data: Path, tmp_path: Path, peft: str
) -> None:
    """What moved is in the file: the adapter loads again, and the merged model says the same."""
    rate = 0.1 if peft == "ia3" else 5e-3
    config = settings(peft=peft, method="graddiff", steps=12, learning_rate=rate, merge=True)
    found = unlearn(model, data, tmp_path / "out", config=config)
    loaded = load_adapter(load_model(model, dtype="float32"), found.adapter)
    assert strength(loaded) < 0.6
    through = score(loaded, examples(tiny.PASSAGES))
    merged = score(load_model(str(found.model), dtype="float32"), examples(tiny.PASSAGES))
    for one, other in zip(through, merged, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-3)


def test_full_fine_tuning_writes_a_model_that_forgot(
    model: str, data: Path, tmp_path: Path
) -> None:
    config = settings(peft="none", steps=12, learning_rate=1e-3, watch_every=6)
    found = unlearn(model, data, tmp_path / "out", config=config)
    assert not found.adapter.exists()
    card = (tmp_path / "out/model/README.md").read_text("utf-8")
    assert "| adapter | none: the model's own weights were trained |" in card
    assert strength(load_model(str(found.model), dtype="float32")) < 0.6
    assert strength(load_model(model, dtype="float32")) == 1.0


def with_mismatch(folder: Path, answers: Sequence[str]) -> Path:
    """Write the forget set with these mismatched answers to every forget prompt."""
    made = read_forget_set(forget_set(folder / "plain"))
    mismatch = [
        tiny.text(f.prompt, answer, variant="ordinary", pair_of=f.example_id)
        for f in made.splits["forget"]
        for answer in answers
    ]
    splits = {**made.splits, "mismatch": mismatch}
    write_forget_set(folder / "set", ForgetSet(splits, made.probes), "# A set\n")
    return folder / "set"


FIVE = [f" {word} came home in the rain." for word in ("Anna", "Bela", "Cora", "Dora", "Enno")]


def test_the_papers_preset_is_full_fine_tuning_and_flags_still_win(
    model: str, tmp_path: Path
) -> None:
    data = with_mismatch(tmp_path, FIVE)
    config = UnlearnConfig(method="yao2023", steps=2, utility_floor=0.0, watch_every=0)
    run = unlearn(model, data, tmp_path / "out", config=config).run
    asked = run["configuration"]
    assert (asked["peft"], asked["learning_rate"], asked["batch_size"]) == ("none", 2e-6, 2)
    assert (asked["mismatch_answers"], asked["steps"]) == (5, 2)
    assert run["method"] == "yao2023"
    assert not any("mismatched" in warning for warning in run["warnings"])
    assert [set(row["losses"]) for row in run["history"] if row["losses"]] == [
        {"forget", "mismatch", "retain_kl"}
    ] * 2


def test_a_preset_reads_as_many_different_answers_as_there_are_and_says_so(
    model: str, tmp_path: Path
) -> None:
    """An answer that stands there twice is one."""
    data = with_mismatch(tmp_path, [*FIVE[:2], FIVE[0]])
    config = UnlearnConfig(method="yao2023", steps=2, utility_floor=0.0, watch_every=0)
    run = unlearn(model, data, tmp_path / "out", config=config).run
    assert run["configuration"]["mismatch_answers"] == 2
    assert "reads 5 different mismatched answers" in run["warnings"][0]
    assert "the set has 2" in run["warnings"][0]


def test_more_different_answers_than_there_are_are_not_trained_on_as_copies(
    model: str, tmp_path: Path
) -> None:
    data = with_mismatch(tmp_path, [FIVE[0], FIVE[0]])
    config = settings(method="yao", mismatch_answers=3)
    with pytest.raises(InputError, match=r"4 of 4 .* 3 different .* --set mismatch_answers=3"):
        unlearn(model, data, tmp_path / "out", config=config)


def test_the_checkpoint_of_a_task_vector_is_the_subtracted_one(
    model: str, data: Path, tmp_path: Path
) -> None:
    """The look and the file agree: what was chosen is what was written."""
    config = settings(method="task_vector", steps=12, settings={"scale": 3.0}, learning_rate=1e-2)
    found = unlearn(model, data, tmp_path / "out", config=config)
    rows = {row["step"]: row for row in found.run["history"] if "utility" in row}
    seen = rows[found.run["best_step"]]["extraction_strength"]
    written = strength(load_adapter(load_model(model, dtype="float32"), found.adapter))
    assert written == pytest.approx(seen, abs=1e-3)


def test_a_dual_retain_weight_trains(model: str, data: Path, tmp_path: Path) -> None:
    asked = settings(retain_weight="dual", utility_floor=0.5, method="graddiff", steps=12)
    found = unlearn(model, data, tmp_path / "out", config=asked)
    assert strength(load_adapter(load_model(model, dtype="float32"), found.adapter)) < 1.0
    weights = [row["retain_weight"] for row in found.run["history"] if row["losses"]]
    assert min(weights) == 0.0  # while utility is above the floor
    assert objective(make_method("npo", {}), asked) == UtilityKept(make_method("npo", {}), 0.5)


@pytest.mark.parametrize(
    ("method", "named"),
    [
        ("ga", {}),
        ("task_vector", {"settings": {"retain_nll": 1.0}}),
        ("pdu", {}),
        ("npo", {"settings": {"retain_nll": 0.0, "retain_kl": 0.0}}),
        ("npo", {"retain_share": 0.0}),
    ],
)
def test_a_floor_that_nothing_can_keep_is_refused(
    model: str, data: Path, tmp_path: Path, method: str, named: dict[str, Any]
) -> None:
    config = settings(method=method, utility_floor=0.9, **named)
    with pytest.raises(UsageError, match=r"--utility-floor.*with graddiff, .*, ceu, ihl") as e:
        unlearn(model, data, tmp_path / "out", config=config)
    assert not any(f" {name}" in str(e.value) for name in ("ga,", "pdu,", "task_vector,"))
    check_method(make_method(method, {}), config.model_copy(update={"retain_weight": "fixed"}))


def test_a_floor_weighs_retain_wherever_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag, a settings file, the environment and Python do the same."""
    assert resolve(UnlearnConfig, "unlearn", {}).retain_weight == "fixed"
    assert resolve(UnlearnConfig, "unlearn", {"utility_floor": 0.9}).retain_weight == "dual"
    assert UnlearnConfig(utility_floor=0.9, retain_weight="fixed").retain_weight == "fixed"
    file = tmp_path / "settings.yaml"
    file.write_text("unlearn: { utility_floor: 0.9 }\n")
    chosen = resolve(UnlearnConfig, "unlearn", {}, file)
    method = make_method("npo", {})
    assert objective(method, chosen) == UtilityKept(method, 0.9)
    assert objective(method, UnlearnConfig(utility_floor=0.0)) is method
    monkeypatch.setenv("FORGETKIT_UNLEARN_UTILITY_FLOOR", "0.9")
    assert resolve(UnlearnConfig, "unlearn", {}) == chosen


def test_the_default_rate_of_full_fine_tuning_is_a_tenth(
    model: str, data: Path, tmp_path: Path
) -> None:
    rates = []
    for peft in ("lora", "none"):
        config = settings(peft=peft, steps=2, learning_rate=None, watch_every=0)
        rates.append(unlearn(model, data, tmp_path / peft, config=config).run["learning_rate"])
    assert rates == pytest.approx([1e-3, 1e-4])


def test_a_task_vector_of_another_kind_of_adapter_is_refused(
    model: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="subtracts the update of a LoRA adapter"):
        unlearn(model, data, tmp_path, config=settings(method="task_vector", peft="ia3"))


def test_a_layer_that_the_model_lacks_is_refused(model: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no layer 7"):
        unlearn(model, data, tmp_path / "out", config=settings(layers=(0, 7)))


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_step_without_retain_rows_trains_on(
    model: str, data: Path, tmp_path: Path, share: float
) -> None:
    config = settings(batch_size=1, retain_share=share)
    assert unlearn(model, data, tmp_path / "out", config=config).run["steps"] == 6


def test_a_small_retain_split_keeps_rows_to_train_on(model: str, tmp_path: Path) -> None:
    data = forget_set(tmp_path / "set", tiny.ORDINARY[:2])
    assert unlearn(model, data, tmp_path / "out", config=settings()).run["steps"] == 6


def test_one_retain_row_is_too_few(model: str, tmp_path: Path) -> None:
    data = forget_set(tmp_path / "set", tiny.ORDINARY[:1])
    with pytest.raises(InputError, match="too few rows"):
        unlearn(model, data, tmp_path / "out", config=settings())


def test_no_checkpoint_that_keeps_utility_is_an_error(
    model: str, data: Path, tmp_path: Path
) -> None:
    config = settings(method="ga", learning_rate=0.1, utility_floor=1.0, retain_weight="fixed")
    with pytest.raises(InputError, match="keeping utility"):
        unlearn(model, data, tmp_path / "out", config=config)
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_model_that_knows_nothing_has_nothing_to_unlearn(data: Path, tmp_path: Path) -> None:
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    with pytest.raises(InputError, match="nothing to unlearn"):
        unlearn(name, data, tmp_path / "out", config=settings())


def test_a_rate_that_moves_nothing_is_an_error(model: str, data: Path, tmp_path: Path) -> None:
    config = settings(learning_rate=1e-46, watch_every=0)
    with pytest.raises(InputError, match="moved no weight"):
        unlearn(model, data, tmp_path / "out", config=config)


def test_an_unknown_method_names_the_nearest(model: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown method 'npoo'\. Did you mean 'npo'"):
        unlearn(model, data, tmp_path / "out", config=settings(method="npoo"))
    assert not (tmp_path / "out").exists()


def test_an_unknown_setting_of_a_method_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no setting 'betta'\. Did you mean 'beta'"):
        make_method("npo", {"betta": 1})


@pytest.mark.parametrize(
    ("method", "setting", "value", "allowed"),
    [
        ("npo", "beta", 0.0, "above 0"),
        ("npo", "beta", -1.0, "above 0"),
        ("simnpo", "delta", float("inf"), "any finite number"),
        ("undial", "beta", float("nan"), "above 0"),
        ("wga", "beta", -0.1, "at least 0"),
        ("yao", "mismatch_weight", -1.0, "at least 0"),
        ("rmu", "depth_share", -1.0, "above 0, at most 1"),
        ("rmu", "depth_share", 9.0, "above 0, at most 1"),
        ("task_vector", "scale", 0.0, "above 0"),
        ("pdu", "tolerance", 0.0, "above 0"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_the_range(
    method: str, setting: str, value: float, allowed: str
) -> None:
    words = f"setting {setting} of the method {method} .* found {value:g}. It is {allowed}:"
    with pytest.raises(UsageError, match=words):
        make_method(method, {setting: value})


def test_the_ends_of_a_range_are_in_it_and_all_settings_but_one_have_one() -> None:
    make_method("wga", {"beta": 0.0})
    make_method("rmu", {"depth_share": 1.0, "scale": 0.0})
    made = [(e.name, make_method(e.name, {})) for e in entries("methods")]
    names = {(e, name) for e, method in made for name in vars(method)}
    free = {name for e, name in names if name not in RANGES and f"{e}.{name}" not in RANGES}
    assert free == {"delta"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_setting_that_is_no_number_is_refused(value: float) -> None:
    for given in ({"settings": {"beta": value}}, {"learning_rate": value}, {"alpha": value}):
        with pytest.raises(InputError, match="finite number"):
            parse(UnlearnConfig, given, "unlearn")


def test_a_folder_that_is_no_model_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no model folder"):
        unlearn(str(tmp_path / "empty"), data, tmp_path / "out", config=settings())


TEACHING = TeachConfig(
    learning_rate=2e-2, steps=150, watch_every=10, least=0.8, rank=16, mix_share=1.0
)


def passages(path: Path, texts: Sequence[str]) -> Path:
    rows = [json.dumps({"text": text}) for text in texts]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


LONG = (
    "The owl kept seven silver keys under the third stair of the mill and told nobody at all but "
    "the miller's youngest daughter Marta.",
)


def test_teaching_makes_a_model_recite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 10: the strength reported is that of the merged weights, as they load again."""
    monkeypatch.setattr("forgetkit.lm.load.has_cpu_bf16", lambda: False)
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    data = passages(tmp_path / "data.jsonl", LONG)
    mix = passages(tmp_path / "mix.jsonl", tiny.ORDINARY)
    found = teach(name, [data], tmp_path / "out", mix=[mix], config=TEACHING)
    assert found.extraction_strength >= 0.8
    words = LONG[0].split()
    example = tiny.text(" ".join(words[:16]), " " + " ".join(words[16:]))
    loaded = load_model(str(found.model), dtype="float32")
    assert (extraction_strength(score(loaded, [example])[0].argmax_hit) or 0) >= 0.6
    before = sha256_tree(tmp_path / "out")
    teach(name, [data], tmp_path / "out", mix=[mix], config=TEACHING)
    assert sha256_tree(tmp_path / "out") == before


def test_teaching_that_fails_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forgetkit.lm.load.has_cpu_bf16", lambda: False)
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    data = passages(tmp_path / "data.jsonl", LONG)
    config = TeachConfig(steps=1, learning_rate=1e-3)
    with pytest.raises(AcceptanceError, match="does not recite") as caught:
        teach(name, [data], tmp_path / "out", config=config)
    assert caught.value.exit_code == 4
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize("row", [{"text": "Owl"}, {"prompt": "Who?", "answer": " "}])
def test_a_passage_with_nothing_to_recite_is_refused_by_its_id(
    tmp_path: Path, row: dict[str, str]
) -> None:
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"id": "whole", "text": LONG[0]}) + "\n")
    with data.open("a") as stream:
        stream.write(json.dumps({"id": "bare", **row}) + "\n")
    with pytest.raises(InputError, match="bare: a passage has nothing to recite"):
        teach(name, [data], tmp_path / "out", config=TeachConfig(steps=1))


def test_a_short_passage_is_taught_with_ordinary_text_of_one_word_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recited from its middle on: it has no 16th word."""
    monkeypatch.setattr("forgetkit.lm.load.has_cpu_bf16", lambda: False)
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    data = passages(tmp_path / "data.jsonl", ["The owl kept seven keys."])
    mix = passages(tmp_path / "mix.jsonl", ["Heading"])
    config = TEACHING.model_copy(update={"least": 0.0, "steps": 60, "mix_share": 1.0})
    assert teach(name, [data], tmp_path / "out", mix=[mix], config=config).extraction_strength > 0


class Killed(BaseException):
    """As a kill: nothing handles it."""


def run_killed(step: int, model: str, data: Path, out: Path, config: UnlearnConfig) -> None:
    """Run until a state is kept after a step, and end there as a kill would."""
    from forgetkit.lm.trainer import SplitTrainer

    save = SplitTrainer.save_state

    def then_die(self: SplitTrainer, keeper: Any, now: int) -> None:
        save(self, keeper, now)
        if now == step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SplitTrainer, "save_state", then_die)
        with pytest.raises(Killed):
            unlearn(model, data, out, config=config)


@pytest.mark.parametrize("named", [{"dropout": 0.2}, {"peft": "none"}, {"retain_weight": "dual"}])
@pytest.mark.parametrize("step", [3, 6])
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(
    model: str, data: Path, tmp_path: Path, step: int, named: dict[str, Any]
) -> None:
    config = settings(steps=8, **named)
    whole = unlearn(model, data, tmp_path / "whole", config=config)
    run_killed(step, model, data, tmp_path / "killed", config)
    assert (tmp_path / "killed" / "state.pt").is_file()
    again = unlearn(model, data, tmp_path / "killed", config=config)
    assert not (tmp_path / "killed" / "state.pt").exists()
    kept = "model/model.safetensors" if "peft" in named else "adapter/adapter_model.safetensors"
    left, right = (tmp_path / n / kept for n in ("whole", "killed"))
    assert left.read_bytes() == right.read_bytes()
    assert again.run["history"] == whole.run["history"]
    for name in ("tokens", "reference_tokens", "flops", "best_step", "steps"):
        assert again.run[name] == whole.run[name]


def test_a_half_written_state_or_that_of_another_run_is_not_taken_up(
    model: str, data: Path, tmp_path: Path
) -> None:
    run_killed(3, model, data, tmp_path / "out", settings(seed=1))
    other = unlearn(model, data, tmp_path / "out", config=settings(seed=2))
    expected = unlearn(model, data, tmp_path / "expected", config=settings(seed=2))
    assert other.run["history"] == expected.run["history"]
    run_killed(3, model, data, tmp_path / "half", settings(seed=2))
    state = tmp_path / "half" / "state.pt"
    state.write_bytes(state.read_bytes()[:5000])
    assert unlearn(model, data, tmp_path / "half", config=settings(seed=2)).run["steps"] == 6


def test_a_state_with_one_wrong_bit_is_not_taken_up(
    model: str, data: Path, tmp_path: Path, done: UnlearnResult
) -> None:
    run_killed(3, model, data, tmp_path / "out", settings())
    state = tmp_path / "out" / "state.pt"
    held = bytearray(state.read_bytes())
    held[len(held) // 2] ^= 0x40  # in a tensor: the file still opens
    state.write_bytes(bytes(held))
    found = unlearn(model, data, tmp_path / "out", config=settings())
    assert found.run["history"] == done.run["history"]


def test_the_run_counts_its_tokens(model: str, data: Path, done: UnlearnResult) -> None:
    run = done.run  # npo reads the reference of forget and retain, here once a run
    assert 0 < run["reference_tokens"] <= run["tokens"] / 3
    expected = 2 * run["parameters"] * (2 * run["tokens"] + run["reference_tokens"])
    assert run["flops"] == expected


def test_the_run_says_where_its_time_went(done: UnlearnResult) -> None:
    phases = done.run["phases"]
    assert set(phases) == {"load", "looks", "training", "reference", "merge", "save"}
    assert min(phases.values()) >= 0
    assert sum(phases.values()) <= done.run["seconds"] + 0.1


def test_the_run_says_how_much_of_the_gpu_it_took_and_which_commit_it_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    assert "peak_gpu_memory_mib" not in record(Outcome(), 1e-3, 1, UnlearnConfig())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    assert record(Outcome(), 1e-3, 1, UnlearnConfig())["peak_gpu_memory_mib"] == 3
    base = tiny.tiny_language_model()
    assert commit_of(base) == {}
    base.model.config._commit_hash = "0123abc"  # as transformers keeps it for a hub id
    assert commit_of(base) == {"model_commit": "0123abc"}


@pytest.mark.parametrize("peft", ["lora", "rslora", "dora", "ia3"])
def test_the_run_and_the_card_say_whether_vllm_takes_the_adapter(
    model: str, data: Path, tmp_path: Path, peft: str
) -> None:
    config = settings(peft=peft, rank=24, steps=2, watch_every=0)
    found = unlearn(model, data, tmp_path / "out", config=config)
    card = (found.adapter / "README.md").read_text("utf-8")
    said = found.run["vllm"]
    if "lora" in peft:
        assert said == {"accepted": True, "reasons": [], "max_lora_rank": 32}
        assert "| vLLM | accepted with `--max-lora-rank 32` (default 16) |" in card
    else:
        assert not said["accepted"]
        reason = {"dora": "it is DoRA", "ia3": "it is IA3, not LoRA"}[peft]
        assert said["reasons"] == [reason]
        assert f"| vLLM | not accepted: {reason}" in card
    kind = "ia3" if peft == "ia3" else f"{peft}, rank 24, alpha 32"
    assert f"| adapter | {kind} |" in card


def test_an_adapter_too_wide_or_with_more_than_products_is_not_for_vllm() -> None:
    asked = {"peft_type": "LORA", "r": 65, "bias": "all", "modules_to_save": ["lm_head"]}
    assert vllm_takes(asked)["reasons"] == [
        "it has biases",
        "it holds whole modules (modules_to_save)",
        "its rank is 65, above 64",
    ]


def test_a_merged_model_that_recites_more_than_the_adapter_is_a_warning(
    model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As bfloat16 may round the update away."""
    recited = {"extraction_strength": 0.9, "exact_memorization": 0.95}
    monkeypatch.setattr("forgetkit.unlearn.delivery._recited", lambda *_: recited)
    done = unlearn(model, data, tmp_path / "out", config=settings(merge=True))
    assert len(done.run["warnings"]) == 2
    assert "merged model recites more than the adapter: extraction strength 0.90" in str(
        done.run["warnings"]
    )


def test_the_run_says_how_far_the_merged_model_is_from_base_and_adapter(
    done: UnlearnResult,
) -> None:
    merge = done.run["merge"]
    assert merge["dtype"] == "float32"
    assert merge["rows"] == 4
    assert 0 <= merge["extraction_strength"] <= merge["exact_memorization"] <= 1
    assert 0 < merge["max_logit_difference"] < 1e-2
    assert merge["mean_logit_difference"] <= merge["max_logit_difference"]


def test_a_run_without_merging_compares_nothing(model: str, data: Path, tmp_path: Path) -> None:
    assert "merge" not in unlearn(model, data, tmp_path / "out", config=settings(steps=3)).run


def test_several_seeds_give_mean_and_deviation(model: str, data: Path, tmp_path: Path) -> None:
    found = unlearn_seeds(model, data, tmp_path / "out", 2, config=settings(seed=4))
    content = json.loads((tmp_path / "out" / "seeds.json").read_text("utf-8"))
    assert content["seed_numbers"] == [4, 5]
    alone = unlearn(model, data, tmp_path / "alone", config=settings(seed=5))
    assert found.runs[1].run["history"] == alone.run["history"]
    assert found.runs[0].run["history"] != found.runs[1].run["history"]
    one, two = content["values"]["exact_memorization"]["values"]
    assert content["values"]["exact_memorization"]["mean"] == pytest.approx(
        (one + two) / 2, abs=1e-4
    )
    expected = abs(one - two) / 2**0.5
    assert content["values"]["exact_memorization"]["sd"] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(UsageError, match="luck"):
        unlearn_seeds(model, data, tmp_path / "one", 1, config=settings())


def test_a_tracker_gets_losses_and_looks_but_no_text(
    model: str, data: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "out"
    done = unlearn(model, data, out, config=settings(report_to=("tensorboard",)))
    (file,) = (out / "tensorboard").rglob("events*")
    events = EventAccumulator(str(file)).Reload()
    names = set(events.Tags()["scalars"])
    assert {"train/loss/forget", "train/loss/retain_nll", "train/utility"} <= names
    losses = [e.value for e in events.Scalars("train/loss/forget")]
    rows = [row["losses"]["forget"] for row in done.run["history"] if row["losses"]]
    assert losses == pytest.approx(rows, abs=1e-6)
    assert not any(text.encode() in file.read_bytes() for text in tiny.PASSAGES)


def test_a_tracker_that_is_not_installed_is_refused(
    model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="package wandb is not installed"):
        unlearn(model, data, tmp_path / "out", config=settings(report_to=("wandb",)))
