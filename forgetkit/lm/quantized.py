"""Bases in 8 or 4 bits through bitsandbytes, when it is installed: for training an adapter.

Merging into such weights is a trap: an update smaller than a step of the grid is rounded away, and
what is delivered then is the base. So an adapter is never merged into them: it is put on the
weights the base was made from, and the difference to what was trained is reported.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from forgetkit.errors import UsageError

if TYPE_CHECKING:
    import torch

FORMATS = ("int8", "nf4")
"""Number formats: LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339), and NF4 with doubly
quantised scales (Dettmers et al. 2023, arXiv:2305.14314)."""


def quantization(name: str, products: torch.dtype) -> Any:
    """Return what `from_pretrained` takes for a format.

    Args:
        name: one of `FORMATS`.
        products: number format of the products and of what stays as it is.

    Raises:
        UsageError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(
            f"the format {name} needs the package bitsandbytes",
            mend="pip install 'forgetkit[quantized]', or choose another dtype.",
        )
    from transformers import BitsAndBytesConfig

    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=products,
    )


def is_quantized(model: torch.nn.Module) -> bool:
    """Say whether the weights of a model are in 8 or 4 bits."""
    return bool(getattr(model, "is_quantized", False))
