"""Random numbers: one generator a purpose, derived from the run's seed; nothing global."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def derive(seed: int, purpose: str) -> int:
    """Derive a seed of 63 bits for one purpose, so that purposes do not share a stream.

    >>> derive(0, "shuffle") != derive(0, "dropout")
    True
    """
    digest = hashlib.sha256(f"{seed}\0{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Return a NumPy generator of its own for one purpose of one run."""
    import numpy as np

    return np.random.default_rng(derive(seed, purpose))
