"""Intervals of rates: what every share of hits carries beside it."""

from __future__ import annotations

import math


def wilson(successes: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate (Wilson 1927).

    >>> [round(x, 3) for x in wilson(0, 20)]
    [0.0, 0.161]
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
