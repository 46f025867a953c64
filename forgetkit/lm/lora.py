"""A linear layer and its low-rank update as one operation, for training.

peft computes y = x Wᵀ and adds s (x Aᵀ) Bᵀ: each layer makes, scales and adds matrices of the size
of y, forward and backward. Here the update is accumulated by the products themselves; values and
gradients are the same up to rounding.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch

from forgetkit.lm.head import add_product


class _Updated(torch.autograd.Function):
    """x Wᵀ + b + s (x Aᵀ) Bᵀ, W and b frozen."""

    @staticmethod
    def forward(
        context: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """Return (..., O) from x (..., I), weight (O, I), down (R, I) and up (O, R)."""
        kind = weight.dtype
        rows = x.to(kind).reshape(-1, x.shape[-1])
        small = (rows @ down.to(kind).T).mul_(scale)
        result = torch.nn.functional.linear(rows, weight, bias)
        add_product(result, small, up.to(kind).T)
        context.save_for_backward(rows, small, weight, down, up)
        context.scale, context.shape, context.kind = scale, x.shape, x.dtype
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        """Return the gradients of x, down and up."""
        rows, small, weight, down, up = context.saved_tensors
        kind = weight.dtype
        outer = gradients[0].to(kind).reshape(-1, weight.shape[0])
        inner = (outer @ up.to(kind)).mul_(context.scale)
        of_x = None
        if context.needs_input_grad[0]:
            whole = outer @ weight
            add_product(whole, inner, down.to(kind))
            of_x = whole.view(context.shape).to(context.kind)
        of_down = (inner.T @ rows).to(down.dtype)
        of_up = (outer.T @ small).to(up.dtype)
        return of_x, None, None, of_down, of_up, None


@contextlib.contextmanager
def fused_updates(model: torch.nn.Module) -> Iterator[None]:
    """Let the LoRA layers of a model in training run as one operation each.

    Layers with dropout, DoRA, quantised weights or several adapters run as peft runs them, and so
    does the model in evaluation and with its adapter off.
    """
    from peft.tuners.lora.layer import Linear

    layers = [module for module in model.modules() if type(module) is Linear]
    for layer in layers:
        layer.forward = functools.partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: Any, x: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
    name = _fusible(layer, x) if not given and not named else None
    if name is None:
        result: torch.Tensor = type(layer).forward(layer, x, *given, **named)
        return result
    base, kind = layer.base_layer, x.device.type
    with torch.autocast(kind, enabled=False):
        found: torch.Tensor = _Updated.apply(  # type: ignore[no-untyped-call]
            x,
            base.weight,
            base.bias,
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            layer.scaling[name],
        )
    return found


def _fusible(layer: Any, x: torch.Tensor) -> str | None:
    """Return the name of the one plain adapter of a layer in training, or None."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if not layer.training or layer.disable_adapters or layer.merged or len(active) != 1:
        return None
    name, base = active[0], layer.base_layer
    down, up = layer.lora_A[name], layer.lora_B[name]
    drops = getattr(layer.lora_dropout[name], "p", 0.0) > 0
    plain = type(base) is torch.nn.Linear and not base.weight.requires_grad and up.bias is None
    if not plain or drops or name in layer.lora_variant:
        return None
    mixed = torch.is_autocast_enabled(x.device.type)
    runs_in = torch.get_autocast_dtype(x.device.type) if mixed else down.weight.dtype
    return name if runs_in == base.weight.dtype else None
