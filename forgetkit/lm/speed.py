"""How long a training takes here, about."""

from __future__ import annotations

import time

USED = 0.6
"""Share of the speed of one large product that a whole training step reaches, about."""


def training_seconds(tokens: int, parameters: float, *, whole: bool = False) -> float:
    """Return about how long a training takes here, by the speed of one product, in seconds.

    Args:
        tokens: read with gradient.
        parameters: of the model.
        whole: the weights themselves are trained.
    """
    import torch

    from forgetkit.lm.load import torch_dtype

    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch_dtype("auto", device)
    left, right = (torch.randn(1024, 1024, device=device).to(kind) for _ in range(2))
    left @ right
    started = time.monotonic()
    for _ in range(4):
        float((left @ right)[0, 0])
    rate = USED * 4 * 2 * 1024**3 / (time.monotonic() - started)
    # Forward, backward through frozen weights, and the reference's forward pass of half the rows.
    passes = 3.5 if whole else 2.5
    return round(2 * parameters * tokens * passes / rate, 1)
