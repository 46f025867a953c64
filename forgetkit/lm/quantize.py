"""Weights as a quantised model would hold them: rounded, and written back in their own format."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from forgetkit.errors import UsageError, nearest
from forgetkit.lm.encode import causal_model
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.quantized import is_quantized

if TYPE_CHECKING:
    import torch

GROUP = 64  # weights that share a scale at 4 bits, as in QLoRA (Dettmers 2023, arXiv:2305.14314)
FORMATS = {"int8": 8, "int4": 4, "nf4": 4}


def has_bitsandbytes() -> bool:
    """Say whether bitsandbytes can round weights to NF4 here."""
    return importlib.util.find_spec("bitsandbytes") is not None


def quantize(language_model: LanguageModel, name: str) -> int:
    """Round the weights of every layer but the head, in place, and return how many were rounded.

    Args:
        language_model: without an adapter; its weights change.
        name: int8 (one scale an output), int4 (one a group of `GROUP` inputs), both to the nearest
            of evenly spaced values; or nf4, by bitsandbytes.

    Returns:
        The number of weights rounded; 0 when the architecture has no layer that is known here, or
        its weights are in few bits already.

    Raises:
        UsageError: the format is unknown.
    """
    import torch

    if name not in FORMATS:
        raise UsageError(f"unknown format '{name}'", mend=nearest(name, FORMATS))
    base = causal_model(language_model.model)
    count = 0
    with torch.no_grad():
        for weight in _matrices(base):
            weight.copy_(_nf4(weight) if name == "nf4" else rounded(weight, FORMATS[name]))
            count += weight.numel()
    return count


def _matrices(base: Any) -> Iterator[torch.Tensor]:
    """Give the weights of each layer but the head, as views (outputs, inputs)."""
    import torch
    from transformers.pytorch_utils import Conv1D

    if is_quantized(base):
        return
    head = base.get_output_embeddings()
    for module in base.modules():
        if module is head:
            continue
        if isinstance(module, torch.nn.Linear):
            yield module.weight
        elif isinstance(module, Conv1D):  # GPT-2's: (inputs, outputs)
            yield module.weight.T
        elif type(module).__name__.endswith("Experts"):  # one parameter (experts, ., .) for all
            for weight in module.parameters(recurse=False):
                if weight.ndim == 3:
                    yield from weight.mT if _inputs_first(module) else weight


def _inputs_first(experts: torch.nn.Module) -> bool:
    """Say whether a layer of experts keeps its weights as (experts, inputs, outputs)."""
    said = getattr(experts, "is_transposed", None)
    return type(experts).__name__ == "Llama4TextExperts" if said is None else bool(said)


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Return weights (rows, columns) rounded to `bits`, in float32.

    A scale is the largest magnitude of its row (8 bits) or group (4 bits) over 2^(bits - 1) - 1.
    Worked value: 4 bits, group (7, 3.4, -1.6): scale 1, so (7, 3, -2).
    """
    rows, columns = weight.shape
    size = columns if bits == 8 or columns % GROUP else GROUP
    groups = weight.float().reshape(rows * columns // size, size)
    scale = groups.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    near: torch.Tensor = (groups / scale.clamp_min(1e-12)).round().mul(scale)
    return near.reshape(rows, columns)


def _nf4(weight: torch.Tensor) -> Any:
    kernels: Any = importlib.import_module("bitsandbytes.functional")
    packed, state = kernels.quantize_4bit(weight.contiguous(), blocksize=GROUP, quant_type="nf4")
    return kernels.dequantize_4bit(packed, state)
