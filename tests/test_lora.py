from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch

from forgetkit.lm.adapter import AdapterSettings, adapter_off, add_adapter
from forgetkit.lm.lora import _Updated, fused_updates

IDS = torch.tensor([[1, 5, 9, 4, 7], [3, 3, 8, 2, 6]])


def adapted(settings: AdapterSettings) -> Any:
    """Return a tiny model with an adapter whose weights matter."""
    model = add_adapter(tiny.tiny_language_model(), settings, seed=0).model
    drawn = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.copy_(0.3 * torch.randn(value.shape, generator=drawn))
    return model


def outcome(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return logits, and the gradients of a loss of theirs."""
    model.zero_grad()
    logits = model(input_ids=IDS).logits
    logits.log_softmax(-1)[..., 3].sum().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), found


def far(left: torch.Tensor, right: torch.Tensor) -> float:
    """Return how far two tensors are apart, relatively."""
    return float((left.float() - right.float()).norm() / right.float().norm())


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []
    plain: Any = _Updated.apply

    def counted(*given: Any) -> Any:
        made.append(1)
        return plain(*given)

    monkeypatch.setattr(_Updated, "apply", counted)
    return made


@pytest.mark.parametrize("kind", ["lora", "rslora"])
def test_values_and_gradients_are_those_of_peft(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(AdapterSettings(kind, rank=4, alpha=6)).train()
    expected, slopes = outcome(model)
    made = calls(monkeypatch)
    with fused_updates(model):
        found, ours = outcome(model)
    assert made
    assert far(found, expected) < 1e-5
    assert ours.keys() == slopes.keys()
    assert max(far(ours[name], slopes[name]) for name in slopes) < 1e-4


def test_outside_the_block_peft_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(AdapterSettings(rank=4)).train()
    with fused_updates(model):
        pass
    made = calls(monkeypatch)
    outcome(model)
    assert not made


@pytest.mark.parametrize(
    "settings", [AdapterSettings(rank=4, dropout=0.5), AdapterSettings("dora", rank=4)]
)
def test_what_is_more_than_a_product_runs_as_peft_runs_it(
    settings: AdapterSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted(settings).train()
    torch.manual_seed(0)
    expected = outcome(model)[0]
    made = calls(monkeypatch)
    torch.manual_seed(0)
    with fused_updates(model):
        found = outcome(model)[0]
    assert not made
    assert torch.equal(found, expected)


def test_evaluation_and_the_reference_are_bit_by_bit_those_of_peft() -> None:
    model = adapted(AdapterSettings(rank=4)).eval()
    with torch.no_grad():
        expected = model(input_ids=IDS).logits
        with adapter_off(model):
            before = model(input_ids=IDS).logits
        with fused_updates(model):
            assert torch.equal(model(input_ids=IDS).logits, expected)
            model.train()
            with adapter_off(model):
                assert torch.equal(model(input_ids=IDS).logits, before)


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_gradient_is_exact(with_bias: bool) -> None:
    drawn = torch.Generator().manual_seed(0)

    def make(*shape: int, moves: bool = False) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=drawn).requires_grad_(moves)

    x, down, up = make(2, 3, 5, moves=True), make(2, 5, moves=True), make(4, 2, moves=True)
    weight, bias = make(4, 5), make(4) if with_bias else None

    def updated(x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _Updated.apply(x, weight, bias, down, up, 0.7)  # type: ignore[no-untyped-call]
        return result

    expected = torch.nn.functional.linear(x, weight, bias) + 0.7 * (x @ down.T) @ up.T
    assert torch.allclose(updated(x, down, up), expected)
    assert torch.autograd.gradcheck(updated, (x, down, up))


def test_in_bfloat16_it_is_no_less_exact_than_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(AdapterSettings(rank=4)).train()
    frozen = [value for name, value in model.named_parameters() if "lora" not in name]
    for value in frozen:
        value.data = value.data.to(torch.bfloat16).float()
    exact, exact_slopes = outcome(model)
    for value in frozen:
        value.data = value.data.to(torch.bfloat16)
    made = calls(monkeypatch)
    with torch.autocast("cpu", torch.bfloat16):
        theirs, their_slopes = outcome(model)
        with fused_updates(model):
            found, slopes = outcome(model)
    assert made
    assert far(found, exact) < 1.2 * far(theirs, exact)
    for name, slope in exact_slopes.items():
        assert slopes[name].dtype == torch.float32
        assert far(slopes[name], slope) < 1.5 * far(their_slopes[name], slope)
