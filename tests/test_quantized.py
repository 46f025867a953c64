"""Bases in 8 or 4 bits, where bitsandbytes is installed; what is said where it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import tiny
from test_unlearn import examples, forget_set, settings, strength

from forgetkit.errors import InputError, UsageError
from forgetkit.lm.adapter import add_lora, load_adapter, merge_adapter
from forgetkit.lm.load import load_model
from forgetkit.lm.quantized import is_quantized
from forgetkit.lm.score import score
from forgetkit.unlearn import unlearn

INSTALLED = importlib.util.find_spec("bitsandbytes") is not None
needed = pytest.mark.skipif(not INSTALLED, reason="needs bitsandbytes")
quiet = pytest.mark.filterwarnings("ignore")  # of bitsandbytes, on CPUs


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that knows the passages, wide enough for blocks of 64 weights."""
    made = tiny.tiny_language_model(model=tiny.llama(width=64, spread=0.2))
    known = tiny.know(made, tiny.PASSAGES + tiny.ORDINARY)
    return tiny.save(known, tmp_path_factory.mktemp("wide") / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return forget_set(tmp_path_factory.mktemp("set") / "set")


@needed
@quiet
@pytest.mark.parametrize("dtype", ["int8", "nf4"])
def test_an_adapter_is_trained_on_a_small_base_and_merged_into_the_whole_one(
    wide: str,
    data: Path,
    tmp_path: Path,
    dtype: str,
) -> None:
    config = settings(dtype=dtype, steps=20, learning_rate=1e-2, merge=True)
    done = unlearn(wide, data, tmp_path / "out", config=config)
    assert done.run["merge"]["trained_on"] == "weights in 8 or 4 bits"
    assert done.run["merge"]["max_logit_difference"] > 0
    base = load_model(wide, dtype="float32")
    assert done.run["parameters"] == base.model.num_parameters()
    assert strength(base) == 1.0
    merged = load_model(str(done.model), dtype="float32")
    assert not is_quantized(merged.model)
    assert strength(merged) < 0.6
    through = score(load_adapter(base, done.adapter), examples(tiny.PASSAGES))
    for one, other in zip(through, score(merged, examples(tiny.PASSAGES)), strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=0.5)


@needed
@quiet
@pytest.mark.parametrize("dtype", ["int8", "nf4"])
def test_an_adapter_is_not_merged_into_a_small_base(wide: str, dtype: str) -> None:
    """Trap 10: the grid would swallow small updates."""
    small = add_lora(load_model(wide, dtype=dtype), rank=2, alpha=4, dropout=0.0, seed=0)
    assert is_quantized(small.model)
    with pytest.raises(InputError, match=r"rounded away.*dtype auto"):
        merge_adapter(small)


def test_without_bitsandbytes_the_format_says_what_to_install(
    wide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def hidden(name: str, *given: Any) -> Any:
        return None if name == "bitsandbytes" else find(name, *given)

    monkeypatch.setattr("importlib.util.find_spec", hidden)
    with pytest.raises(UsageError, match=r"bitsandbytes.*forgetkit\[quantized\]"):
        load_model(wide, dtype="nf4")


def test_weights_of_few_bits_are_not_trained_themselves(
    wide: str,
    data: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="cannot be trained themselves"):
        unlearn(wide, data, tmp_path / "out", config=settings(dtype="int8", peft="none"))


def test_a_format_that_nobody_knows_is_refused(wide: str) -> None:
    with pytest.raises(InputError, match=r"unknown dtype 'int7'.*nf4"):
        load_model(wide, dtype="int7")
