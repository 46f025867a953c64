from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from forgetkit.errors import InputError, UsageError
from forgetkit.lm.adapter import (
    AdapterSettings,
    adapter_off,
    adapter_state,
    adapter_times,
    add_adapter,
    add_lora,
    load_adapter,
    merge_adapter,
    multiply_adapter,
    save_adapter,
)
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.score import score
from forgetkit.lm.trained import reference_model, restore_trained, train_whole, trained_state

KINDS = ("lora", "rslora", "dora", "ia3")
EXAMPLES = [tiny.text(p[:12], p[12:]) for p in tiny.PASSAGES]


def adapted(kind: str, depth: int = 2, **named: Any) -> LanguageModel:
    settings = AdapterSettings(kind, rank=4, alpha=8, **named)
    return add_adapter(tiny.tiny_language_model(layers=depth), settings, seed=0)


def move(language_model: LanguageModel) -> None:
    """Change every trainable weight, as training would."""
    drawn = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in language_model.model.parameters():
            if value.requires_grad:
                value.add_(0.1 * torch.randn(value.shape, generator=drawn))


def values(language_model: LanguageModel) -> list[float]:
    return [v for s in score(language_model, EXAMPLES) for v in s.log_probability]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_begins_at_nothing_loads_again_and_switches_off(
    tmp_path: Path, kind: str
) -> None:
    base = values(tiny.tiny_language_model())
    language_model = adapted(kind)
    assert values(language_model) == pytest.approx(base, abs=1e-4)
    move(language_model)
    through = values(language_model)
    assert through != pytest.approx(base, abs=1e-2)
    with adapter_off(language_model.model):
        assert values(language_model) == base
    save_adapter(language_model.model, tmp_path)
    assert values(load_adapter(tiny.tiny_language_model(), tmp_path)) == through
    assert values(merge_adapter(language_model)) == pytest.approx(through, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_layers_and_places_named_are_adapted(tmp_path: Path, kind: str) -> None:
    language_model = adapted(kind, 13, targets=("v_proj",), layers=(1, 12))
    names = {n for n, value in language_model.model.named_parameters() if value.requires_grad}
    assert {n.split(".layers.")[1].split(".")[0] for n in names} == {"1", "12"}
    assert all("v_proj" in name for name in names)
    save_adapter(language_model.model, tmp_path)
    found = load_adapter(tiny.tiny_language_model(layers=13), tmp_path)
    assert adapter_state(found.model).keys() == adapter_state(language_model.model).keys()


@pytest.mark.parametrize("kind", KINDS)
def test_layers_without_places_adapt_all_of_these_layers(kind: str) -> None:
    language_model = adapted(kind, 13, layers=(1, 12))
    names = [n for n, value in language_model.model.named_parameters() if value.requires_grad]
    assert {n.split(".layers.")[1].split(".")[0] for n in names} == {"1", "12"}
    places = {n.split(".layers.")[1].split(".")[2] for n in names}
    assert len(places) == (3 if kind == "ia3" else 7)


def test_rslora_divides_by_the_root_of_the_rank() -> None:
    """rank 4, alpha 8: 8 / 4 = 2 for LoRA, 8 / sqrt(4) = 4 for rsLoRA."""
    for kind, expected in (("lora", 2.0), ("rslora", 4.0)):
        base: Any = adapted(kind).model.get_base_model()
        assert base.model.layers[0].self_attn.q_proj.scaling["default"] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_each_place_that_no_module_has_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=r"called 'w_proj'.* linear layers: down_proj, .*, v_proj"):
        adapted(kind, targets=("v_proj", "w_proj"))
    adapted(kind, targets=("v_proj", "self_attn.k_proj"))


def test_places_that_hold_no_weights_are_refused() -> None:
    with pytest.raises(InputError, match="finds no place"):
        adapted("lora", targets=("mlp",))


def test_the_adapter_file_holds_what_servers_accept(tmp_path: Path) -> None:
    """vLLM loads LoRA without bias and without modules_to_save."""
    import json

    save_adapter(adapted("lora").model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    assert config["bias"] == "none"
    assert config["modules_to_save"] is None


def test_a_multiplied_adapter_is_the_product_and_comes_back_bit_by_bit() -> None:
    """Twice the update of one linear layer: twice the change of its output."""
    language_model = add_lora(tiny.tiny_language_model(), rank=4, alpha=8, dropout=0.0, seed=0)
    move(language_model)
    before = adapter_state(language_model.model)
    layer = language_model.model.get_base_model().model.layers[0].self_attn.q_proj
    given = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, once = layer.base_layer(given), layer(given)
        with adapter_times(language_model.model, -2.0):
            assert torch.allclose(layer(given) - plain, -2 * (once - plain), atol=1e-5)
    after = adapter_state(language_model.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", ["dora", "ia3"])
def test_an_update_that_is_no_product_is_not_multiplied(kind: str) -> None:
    with pytest.raises(InputError, match="can be subtracted"):
        multiply_adapter(adapted(kind).model, -1.0)


def test_full_fine_tuning_keeps_a_copy_only_when_a_loss_reads_it() -> None:
    """Trap 8: the copy is frozen, apart from the model, and no part of its state."""
    language_model = train_whole(tiny.tiny_language_model(), with_reference=True)
    names = set(language_model.model.state_dict())
    assert names == set(tiny.tiny_language_model().model.state_dict())
    before = trained_state(language_model.model)
    move(language_model)
    with reference_model(language_model.model) as reference:
        assert all(torch.equal(before[n], v) for n, v in reference.named_parameters())
        assert not any(value.requires_grad for value in reference.parameters())
    restore_trained(language_model.model, before)
    assert all(torch.equal(before[n], v) for n, v in language_model.model.named_parameters())
    none = train_whole(tiny.tiny_language_model(), with_reference=False)
    with pytest.raises(InputError, match="no copy"), reference_model(none.model):
        pass


def test_full_fine_tuning_of_some_layers_trains_these_alone() -> None:
    language_model = train_whole(tiny.tiny_language_model(), layers=(1,), with_reference=False)
    names = [n for n, value in language_model.model.named_parameters() if value.requires_grad]
    assert len(names) == 9
    assert all(".layers.1." in name for name in names)
