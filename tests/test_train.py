from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from forgetkit.errors import InputError
from forgetkit.lm.adapter import (
    AdapterSettings,
    adapter_off,
    adapter_state,
    add_adapter,
    add_lora,
    load_adapter,
    merge_adapter,
    save_adapter,
)
from forgetkit.lm.encode import Encoded, encode, like_lengths
from forgetkit.lm.layers import decoder_layers
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.packed import can_pack
from forgetkit.lm.repeated import Repeated
from forgetkit.lm.score import score
from forgetkit.lm.step import Item, Step, join_splits
from forgetkit.lm.train import Look, Outcome, TrainSettings, train
from forgetkit.registry import entries
from forgetkit.unlearn import make_method

METHODS = tuple(entry.name for entry in entries("methods"))
EXAMPLES = [tiny.text(p[:12], p[12:]) for p in tiny.PASSAGES]


def with_adapter(seed: int = 0, **named: Any) -> LanguageModel:
    settings: dict[str, Any] = {"rank": 4, "alpha": 8, "dropout": 0.0} | named
    return add_lora(tiny.tiny_language_model(), seed=seed, **settings)


def items(language_model: LanguageModel, turns: int = 2) -> list[Item]:
    """Return items of one forget, one mismatch and one retain example each."""
    tokenizer = language_model.tokenizer
    rows = zip(tiny.PASSAGES, tiny.ORDINARY, tiny.ORDINARY[4:], strict=False)
    made = [
        {
            "forget": [encode(tokenizer, tiny.text(p[:12], p[12:]))],
            "mismatch": [encode(tokenizer, tiny.text(p[:12], o[5:30]))],
            "retain": [encode(tokenizer, tiny.text(r[:9], r[9:]))],
        }
        for p, o, r in rows
    ]
    return [*made * turns]


def run(
    tmp_path: Path,
    language_model: LanguageModel | None = None,
    method: Callable[[Step], dict[str, torch.Tensor]] | None = None,
    watch: Callable[[int], Look] | None = None,
    **named: Any,
) -> tuple[LanguageModel, Outcome]:
    language_model = language_model or with_adapter()
    settings: dict[str, Any] = {"learning_rate": 1e-2, "batch_size": 2} | named
    outcome = train(
        language_model,
        items(language_model),
        method or make_method("npo", {}),
        TrainSettings(**settings),
        watch=watch,
        scratch=tmp_path,
    )
    return language_model, outcome


def move(language_model: LanguageModel, seed: int = 5) -> None:
    """Give the adapter weights that matter, as training would."""
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in language_model.model.named_parameters():
            if "lora_B" in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=drawn))


def test_the_base_stays_and_the_adapter_moves(tmp_path: Path) -> None:
    """Trap 7: after training lora_B is not zero, in every layer; the base is bit-equal."""
    language_model = with_adapter()
    before = tiny.weights(language_model.model)
    run(tmp_path, language_model)
    after = tiny.weights(language_model.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    seconds = {k: v for k, v in adapter_state(language_model.model).items() if "lora_B" in k}
    assert len(seconds) == 14
    assert all(float(value.abs().max()) > 0 for value in seconds.values())


def test_training_adapts_with_gradient_checkpointing_too(tmp_path: Path) -> None:
    """Trap 7: without gradients at the inputs a checkpointed model trains nothing."""
    language_model = with_adapter()
    model: Any = language_model.model
    model.activation_checkpointing_enable()
    run(tmp_path, language_model)
    state = adapter_state(model)
    assert any(float(v.abs().max()) > 0 for k, v in state.items() if "lora_B" in k)


@pytest.mark.parametrize("name", ["rmu", "undial", "pdu"])
def test_methods_adapt_with_gradient_checkpointing_as_without(tmp_path: Path, name: str) -> None:
    """Trap 7: also where the forward pass ends inside the model."""
    states = []
    for checkpointed in (False, True):
        language_model = with_adapter()
        model: Any = language_model.model.double()  # Adam makes steps of rounding errors
        if checkpointed:
            model.activation_checkpointing_enable()
        run(tmp_path, language_model, make_method(name, {}))
        states.append(adapter_state(model))
    one, other = states
    assert all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)
    assert any(float(v.abs().max()) > 0 for k, v in other.items() if "lora_B" in k)


def test_one_by_eight_accumulated_equals_eight_by_one(tmp_path: Path) -> None:
    """Losses are means over examples, and every item has one example of each split, so the mean
    of means is the mean. (With items of unequal make-up it is not: a share of retain below one.)
    """
    one, _ = run(tmp_path, batch_size=1, accumulation=8)
    eight, _ = run(tmp_path, batch_size=8, accumulation=1)
    left, right = adapter_state(one.model), adapter_state(eight.model)
    assert all(torch.allclose(left[name], right[name], atol=1e-5) for name in left)


@pytest.mark.parametrize("name", METHODS)
def test_padding_and_order_change_no_loss(name: str) -> None:
    """Trap 1, trap 3: the mean over single examples is the padded batch's loss."""
    language_model = with_adapter()
    move(language_model)
    method, rows = make_method(name, {}), items(language_model, 1)
    together = method(Step(language_model.model, join_splits(rows, 256)))
    backwards = method(Step(language_model.model, join_splits(rows[::-1], 3)))
    alone = [method(Step(language_model.model, join_splits([row], 256))) for row in rows]
    for key, value in together.items():
        expected = sum(float(one[key].detach()) for one in alone) / len(alone)
        assert float(value.detach()) == pytest.approx(expected, abs=1e-4)
        assert float(backwards[key].detach()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_rows_of_unlike_length_run_apart_and_change_no_loss(name: str) -> None:
    """Trap 1: the rows come back in their own order, for the model and for the reference."""
    language_model = with_adapter()
    move(language_model)
    method, rows = make_method(name, {}), items(language_model, 1)
    long = encode(language_model.tokenizer, tiny.text("Long ago", " and far away" * 20))
    rows[1] = {split: [long] for split in rows[1]}
    lengths = [len(e) for row in rows for e in row["forget"]]
    assert len(like_lengths(lengths)) == 2
    together = method(Step(language_model.model, join_splits(rows, 256)))
    alone = [method(Step(language_model.model, join_splits([row], 256))) for row in rows]
    for key, value in together.items():
        expected = sum(float(one[key].detach()) for one in alone) / len(alone)
        assert float(value.detach()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["simnpo", "npo", "rmu", "undial", "jensun"])
@pytest.mark.parametrize("make", [tiny.llama, tiny.gemma2])
def test_frozen_first_layers_run_once_and_change_no_loss_and_no_slope(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any], name: str
) -> None:
    """Where the adapter begins at a higher layer, model and reference share what is below it."""
    base = tiny.tiny_language_model(model=make())
    settings = AdapterSettings(rank=4, alpha=8, layers=(1,))
    language_model = add_adapter(base, settings, seed=0)
    move(language_model)
    model, rows = language_model.model, items(language_model, 1)
    long = encode(language_model.tokenizer, tiny.text("Long ago", " and far away" * 20))
    rows[1] = {split: [long] for split in rows[1]}
    can_pack(model)  # it is tried once
    calls: list[torch.nn.Module] = []
    decoder_layers(model)[0].mlp.register_forward_hook(lambda m, _i, _o: calls.append(m))  # type: ignore[union-attr]
    extra = {"simnpo": {"retain_kl": 1.0}, "rmu": {"depth_share": 1.0}}.get(name, {})

    def losses_and_slopes() -> tuple[dict[str, float], dict[str, torch.Tensor], int]:
        calls.clear()
        model.zero_grad()
        found = make_method(name, extra)(Step(model, join_splits(rows, 256)))
        sum(found.values(), torch.tensor(0.0)).backward()  # type: ignore[no-untyped-call]
        moved = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        return {key: float(value.detach()) for key, value in found.items()}, moved, len(calls)

    shared, slopes, few = losses_and_slopes()
    monkeypatch.setattr("forgetkit.lm.step.frozen_below", lambda _model: 0)
    apart, expected, many = losses_and_slopes()
    assert few == (1 if can_pack(model) else 2) < many  # two groups of like length
    assert shared == pytest.approx(apart, abs=1e-5)
    assert slopes.keys() == expected.keys()
    near = 1e-5 * max(1.0, *(float(slope.abs().max()) for slope in expected.values()))
    assert all(torch.allclose(slopes[n], expected[n], atol=near) for n in slopes)
    assert "forward" not in decoder_layers(model)[0].__dict__


def test_rows_that_a_training_repeats_run_through_frozen_layers_once() -> None:
    language_model = add_adapter(
        tiny.tiny_language_model(), AdapterSettings(rank=4, alpha=8, layers=(1,)), seed=0
    )
    move(language_model)
    model, rows = language_model.model, items(language_model, 2)
    can_pack(model)
    again = [dict(row) | {"retain": rows[0]["retain"]} for row in rows]
    repeated = Repeated.of([*rows, *again], model)
    read: list[int] = []
    below = decoder_layers(model)[0].mlp
    below.register_forward_hook(lambda _m, given, _o: read.append(given[0].shape[1]))  # type: ignore[union-attr]

    def losses(kept: Repeated | None, chosen: Sequence[Item]) -> tuple[dict[str, float], int]:
        read.clear()
        step = Step(model, join_splits(chosen, 256), repeated=kept)
        found = make_method("npo", {})(step)
        return {key: float(value.detach()) for key, value in found.items()}, sum(read)

    first, all_read = losses(repeated, rows)
    assert first == pytest.approx(losses(None, rows)[0], abs=1e-5)
    second, none_read = losses(repeated, again)
    assert second == pytest.approx(losses(None, again)[0], abs=1e-5)
    each = {e.prompt_ids + e.answer_ids for row in rows for es in row.values() for e in es}
    assert all_read == sum(map(len, each))
    assert none_read == 0


def test_repeated_rows_are_kept_while_there_is_room_the_most_frequent_first() -> None:
    language_model = add_adapter(
        tiny.tiny_language_model(), AdapterSettings(rank=4, alpha=8, layers=(1,)), seed=0
    )
    a, b, c = (Encoded("", (n,), (n, n)) for n in (1, 2, 3))
    met = [{"forget": [row]} for row in (a, b, b, b, a, c)]
    kept = Repeated.of(met, language_model.model)
    assert [(n, n, n) in kept for n in (1, 2, 3)] == [True, True, False]
    few = Repeated.of(met, language_model.model, most_bytes=32 * 4 * 3)
    assert [(n, n, n) in few for n in (1, 2, 3)] == [False, True, False]
    assert (2, 2, 2) not in Repeated.of(met, with_adapter().model)  # nothing is frozen


def test_a_step_without_a_split_says_so() -> None:
    language_model = with_adapter()
    rows = [{"forget": items(language_model)[0]["forget"]}]
    step = Step(language_model.model, join_splits(rows, 256))
    assert not step.holds("retain")
    with pytest.raises(InputError, match="'retain'"):
        step.nll("retain")


def test_kl_is_zero_before_the_first_step() -> None:
    """Trap 3: the adapter begins at nothing, so model and reference are equal."""
    language_model = with_adapter()
    step = Step(language_model.model, join_splits(items(language_model), 256))
    assert torch.allclose(step.kl("retain")[0], torch.zeros(8), atol=1e-4)
    move(language_model)
    step = Step(language_model.model, join_splits(items(language_model), 256))
    assert float(step.kl("retain")[0].detach().min()) > 1e-3


def test_the_reference_is_the_base_model_exactly() -> None:
    base = tiny.tiny_language_model()
    language_model = with_adapter()
    move(language_model)
    expected = score(base, EXAMPLES)
    assert score(language_model, EXAMPLES) != expected
    with adapter_off(language_model.model):
        assert score(language_model, EXAMPLES) == expected
    assert score(language_model, EXAMPLES) != expected


def test_the_reference_is_no_second_copy() -> None:
    """Trap 8: the storage of all weights is the base's plus the adapter's, also after a step."""
    base = tiny.tiny_language_model()
    held = {v.untyped_storage().data_ptr(): v.numel() for v in base.model.parameters()}
    language_model = add_lora(base, rank=4, alpha=8, dropout=0.0, seed=0)
    step = Step(language_model.model, join_splits(items(language_model), 256))
    make_method("npo", {})(step)
    now = {v.untyped_storage().data_ptr(): v.numel() for v in language_model.model.parameters()}
    adapter = sum(v.numel() for v in adapter_state(language_model.model).values())
    assert held.items() <= now.items()
    assert sum(now.values()) == sum(held.values()) + adapter


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path: Path) -> None:
    one, two, other = (
        adapter_state(run(tmp_path, with_adapter(seed, dropout=0.1), seed=seed)[0].model)
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_leaves_the_global_random_state_as_it_was(tmp_path: Path) -> None:
    language_model = with_adapter()
    expected = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
    run(tmp_path, language_model)
    assert random.getstate() == expected[0]
    assert np.random.get_state()[1].tolist() == expected[1]  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), expected[2])


def test_the_best_checkpoint_is_put_back(tmp_path: Path) -> None:
    language_model = with_adapter()
    states: dict[int, dict[str, torch.Tensor]] = {}

    def watch(step: int) -> Look:
        states[step] = adapter_state(language_model.model)
        return Look({"seen": float(step)}, abs(step - 2))

    _, outcome = run(tmp_path, language_model, watch=watch, watch_every=1)
    assert outcome.best_step == 2
    assert outcome.steps == 4
    kept = adapter_state(language_model.model)
    assert all(torch.equal(kept[name], states[2][name]) for name in kept)
    assert [row["step"] for row in outcome.history] == [0, 1, 2, 3, 4]


def test_training_stops_when_the_look_says_so(tmp_path: Path) -> None:
    """Trap 4: the stop does fire, on what was measured and not on a loss."""

    def watch(step: int) -> Look:
        return Look({}, -step, step == 3, "step 3: enough")

    _, outcome = run(tmp_path, watch=watch, watch_every=1)
    assert outcome.steps == outcome.best_step == 3
    assert outcome.stopped == "step 3: enough"


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    def method(step: Step) -> dict[str, torch.Tensor]:
        return {"forget": step.nll("forget")[0].mean() * math.nan}

    with pytest.raises(InputError, match="'forget' is not finite at step 1"):
        run(tmp_path, method=method)


def test_weights_that_do_not_move_are_an_error(tmp_path: Path) -> None:
    """Trap 7: "nothing happened" is no success."""
    with pytest.raises(InputError, match="moved no weight"):
        run(tmp_path, learning_rate=1e-46)


def saved(tmp_path: Path, layers: int = 2) -> Path:
    language_model = add_lora(
        tiny.tiny_language_model(layers=layers), rank=4, alpha=8, dropout=0.0, seed=0
    )
    move(language_model)
    save_adapter(language_model.model, tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_reads_back_and_merging_changes_no_score(tmp_path: Path) -> None:
    """Trap 10: the merged model is scored again; at full precision it says the same."""
    folder = saved(tmp_path)
    language_model = load_adapter(tiny.tiny_language_model(), folder)
    through = score(language_model, EXAMPLES)
    merged = score(merge_adapter(language_model), EXAMPLES)
    base = score(tiny.tiny_language_model(), EXAMPLES)
    for one, other, plain in zip(through, merged, base, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
        assert one.log_probability != pytest.approx(plain.log_probability, abs=1e-2)


def rewrite(folder: Path, change: Callable[[str], str | None]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    state: Mapping[str, torch.Tensor] = load_file(path)
    save_file({new: v for k, v in state.items() if (new := change(k)) is not None}, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("self_attn", "attention"),
        lambda name: None if "layers.1." in name else name,
        lambda name: None,
    ],
    ids=["other names", "half of it", "empty"],
)
def test_an_adapter_that_matches_no_module_is_refused(
    tmp_path: Path, change: Callable[[str], str | None]
) -> None:
    """Trap 9: peft only warns, and the output would be the base model."""
    folder = saved(tmp_path)
    rewrite(folder, change)
    with pytest.raises(InputError, match="does not match the modules"):
        load_adapter(tiny.tiny_language_model(), folder)


def test_an_adapter_of_a_deeper_model_is_refused(tmp_path: Path) -> None:
    """Trap 9."""
    with pytest.raises(InputError, match="does not match"):
        load_adapter(tiny.tiny_language_model(), saved(tmp_path, layers=3))


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no adapter folder"):
        load_adapter(tiny.tiny_language_model(), tmp_path)


def test_adapter_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04 pickled")
    with pytest.raises(InputError, match="does not fit"):
        load_adapter(tiny.tiny_language_model(), folder)
