"""Each thing that can go wrong while unlearning stops with what was found and what to change."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from test_unlearn import forget_set, settings

from forgetkit.errors import InputError
from forgetkit.forget_set import ForgetSet, read_forget_set, write_forget_set
from forgetkit.lm.adapter import add_lora
from forgetkit.lm.encode import encode
from forgetkit.lm.step import Step
from forgetkit.lm.train import TrainSettings, train
from forgetkit.unlearn import UnlearnConfig, unlearn
from forgetkit.unlearn.watch import Watch


def test_weights_that_stay_are_noticed_after_two_steps(
    model: str,
    data: Path,
    tmp_path: Path,
) -> None:
    """Trap 7: the first step has rate 0 (warm-up), so the second one must have moved them."""
    config = settings(learning_rate=1e-46, watch_every=0, steps=20)
    with pytest.raises(InputError, match=r"moved no weight in 2 steps.* --learning-rate"):
        unlearn(model, data, tmp_path / "out", config=config)
    assert not (tmp_path / "out" / "run.json").exists()


def test_weights_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    """The loss is finite, its slope is not."""
    language_model = add_lora(tiny.tiny_language_model(), rank=4, alpha=8, dropout=0.0, seed=0)

    def method(step: Step) -> dict[str, torch.Tensor]:
        return {"forget": (step.nll("forget")[0].mean() * 0).sqrt()}

    row = {"forget": [encode(language_model.tokenizer, tiny.text("The owl", " kept seven"))]}
    chosen = TrainSettings(learning_rate=1e-2, batch_size=1, warmup_share=0.0)
    with pytest.raises(InputError, match=r"not finite after 1 steps.*Lower --learning-rate"):
        train(language_model, [row], method, chosen, scratch=tmp_path)


def test_a_run_that_diverges_stops_and_says_how_far_it_came(
    model: str,
    data: Path,
    tmp_path: Path,
) -> None:
    given = {"learning_rate": 0.5, "utility_floor": 0.5, "retain_weight": "fixed"}
    config = settings(method="ga", watch_every=1, steps=4, **given)
    with pytest.raises(InputError, match=r"keeping utility.*diverged.*Lower --learning-rate"):
        unlearn(model, data, tmp_path / "out", config=config)


def test_a_run_that_diverges_keeps_the_best_checkpoint_before(
    model: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A look measures forget, control and retain; utility is .90 at step 3, 1/20 at step 6.

    Retain is measured once more before anything else, and not at step 0.
    """
    looks = iter([1.0, 0.9, 0.2, 0.5, 0.2, 1.1, 0.1, 0.1, 1.0 + math.log(20)])

    def measure(_self: Watch, _examples: object) -> tuple[float, float, float]:
        value = next(looks)
        return value, value, value

    monkeypatch.setattr(Watch, "_measure", measure)
    config = settings(utility_floor=0.8, watch_every=3, steps=12)
    run = unlearn(model, data, tmp_path / "out", config=config).run
    assert run["stopped"] == "step 6: diverged, utility 0.05 of before"
    assert (run["steps"], run["best_step"]) == (6, 3)


def test_what_a_floor_of_zero_allows_is_no_divergence(
    model: str,
    data: Path,
    tmp_path: Path,
) -> None:
    config = settings(method="ga", learning_rate=0.1, utility_floor=0.0, watch_every=3)
    assert "diverged" not in unlearn(model, data, tmp_path / "out", config=config).run["stopped"]


def test_a_broken_floor_says_which_utility_was_seen(
    model: str,
    data: Path,
    tmp_path: Path,
) -> None:
    config = settings(method="ga", learning_rate=2e-3, utility_floor=1.0, retain_weight="fixed")
    with pytest.raises(InputError, match=r"keeping utility.* utility 0\.\d+ to 0\.\d+"):
        unlearn(model, data, tmp_path / "out", config=config)


def test_an_update_that_broke_the_floor_is_taken_as_far_as_the_floor_holds(
    model: str, data: Path, tmp_path: Path
) -> None:
    given = {"method": "ga", "learning_rate": 2e-3, "retain_weight": "fixed", "watch_every": 6}
    free = unlearn(model, data, tmp_path / "free", config=settings(**given, utility_floor=0.0))
    last = free.run["history"][-1]
    floor = round((1 + last["utility"]) / 2, 3)
    kept = unlearn(model, data, tmp_path / "kept", config=settings(**given, utility_floor=floor))
    scale, look = kept.run["scale"], kept.run["history"][-1]
    assert "scale" not in free.run
    assert 0 < scale < 1
    assert kept.run["best_step"] == 6
    assert floor <= look["utility"] < floor + 0.05
    assert last["exact_memorization"] < look["exact_memorization"] < 1
    before, after = (load_file(r.adapter / "adapter_model.safetensors") for r in (free, kept))
    for name, value in before.items():
        wanted = value * (scale if "lora_B" in name else 1)
        torch.testing.assert_close(after[name], wanted, rtol=1e-3, atol=1e-6)
    assert f"update times | {scale:g}" in (kept.adapter / "README.md").read_text("utf-8")


def test_an_update_that_forgets_too_much_is_multiplied_by_the_least_that_is_enough(
    model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(method="ihl", learning_rate=1e-2, steps=30, watch_every=30, utility_floor=0.0)
    run = unlearn(model, data, tmp_path / "out", config=config).run
    monkeypatch.setattr("forgetkit.unlearn.watch.TRIES", 0)
    whole = unlearn(model, data, tmp_path / "whole", config=config).run
    last, full = run["history"][-1], whole["history"][-1]
    assert whole["stopped"] == run["stopped"] == "step 30: forget is at its control"
    assert "scale" not in whole
    assert 0 < run["scale"] < 1
    assert last["utility"] > full["utility"] + 0.05
    assert full["exact_memorization"] < last["exact_memorization"] < last["control"] + 0.05


def test_an_update_that_is_no_product_is_not_shrunk(model: str, data: Path, tmp_path: Path) -> None:
    given = {"method": "ga", "retain_weight": "fixed", "utility_floor": 0.98, "peft": "dora"}
    with pytest.raises(InputError, match=r"no checkpoint forgot anything while keeping utility"):
        unlearn(model, data, tmp_path / "out", config=settings(**given, learning_rate=5e-3))


@pytest.mark.parametrize(
    ("method", "name", "weight"),
    [("graddiff", "retain_weight", "dual"), ("pdu", "dual", "fixed")],
)
def test_the_history_shows_the_dual_variable(
    model: str,
    data: Path,
    tmp_path: Path,
    method: str,
    name: str,
    weight: str,
) -> None:
    given = settings(method=method, retain_weight=weight, watch_every=0).model_dump()
    del given["utility_floor"]
    asked = UnlearnConfig.model_validate(given)
    history = unlearn(model, data, tmp_path / "out", config=asked).run["history"]
    values = [row[name] for row in history if row["losses"]]
    assert len(values) == 6
    assert all(value >= 0 for value in values)
    assert len(set(values)) > 1


def test_a_rate_too_low_to_forget_says_to_raise_it(model: str, data: Path, tmp_path: Path) -> None:
    config = settings(method="ga", learning_rate=1e-6)
    with pytest.raises(InputError, match=r"nothing was forgotten in 6 steps.*Raise --learning"):
        unlearn(model, data, tmp_path / "out", config=config)


BROKEN = {"method": "ga", "learning_rate": 0.1, "steps": 6, "batch_size": 4, "dtype": "float32"}


def test_last_weights_below_the_default_floor_are_a_warning(
    model: str, data: Path, tmp_path: Path
) -> None:
    config = UnlearnConfig.model_validate(BROKEN | {"watch_every": 0})
    run = unlearn(model, data, tmp_path / "out", config=config).run
    looks = [row for row in run["history"] if "utility" in row]
    assert [row["step"] for row in looks] == [0, 6]
    assert looks[0]["extraction_strength"] == 1.0
    (warning,) = run["warnings"]
    assert "of utility, and the floor is 0.95 where another is not given" in warning


def test_last_weights_below_a_floor_that_was_given_are_refused(
    model: str, data: Path, tmp_path: Path
) -> None:
    given = {"watch_every": 0, "utility_floor": 0.95, "retain_weight": "fixed"}
    config = UnlearnConfig.model_validate(BROKEN | given)
    with pytest.raises(InputError, match=r"the last weights keep .* floor is 0.95.*Lower --learn"):
        unlearn(model, data, tmp_path / "out", config=config)
    assert not (tmp_path / "out" / "adapter").exists()


def test_last_weights_that_forgot_nothing_are_a_warning(
    model: str, data: Path, tmp_path: Path
) -> None:
    config = settings(learning_rate=1e-6, watch_every=0)
    run = unlearn(model, data, tmp_path / "out", config=config).run
    assert run["warnings"] == ["nothing was forgotten: raise the learning rate or the steps"]


def pairs(folder: Path) -> Path:
    """Write the forget set as prompts and answers."""
    made = read_forget_set(forget_set(folder / "text"))
    splits = {
        name: [replace(e, kind="pair", template="plain") for e in rows]
        for name, rows in made.splits.items()
    }
    write_forget_set(folder / "pairs", ForgetSet(splits, made.probes), "# A set\n")
    return folder / "pairs"


@pytest.mark.parametrize("every", [0, 3])
@pytest.mark.parametrize("kind", ["text", "pair"])
def test_a_set_that_the_model_does_not_know_is_refused_before_training(
    data: Path, tmp_path: Path, kind: str, every: int
) -> None:
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    chosen = pairs(tmp_path) if kind == "pair" else data
    words = "knows none of the forget answers" if kind == "pair" else "no better on forget than"
    with pytest.raises(InputError, match=f"nothing to unlearn: the model .*{words}"):
        unlearn(name, chosen, tmp_path / "out", config=settings(watch_every=every))


def test_pairs_that_the_model_knows_are_unlearned(model: str, tmp_path: Path) -> None:
    run = unlearn(model, pairs(tmp_path), tmp_path / "out", config=settings()).run
    assert run["best_step"] > 0
