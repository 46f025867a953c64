"""Settings that a method was published with, where they differ from our defaults."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Yao et al. 2023, table 9; of the five answers as many as the set has, with a warning
        "yao2023": {
            "peft": "none",
            "learning_rate": 2e-6,
            "batch_size": 2,
            "steps": 1000,
            "mismatch_answers": 5,
            "retain_share": 1.0,
            "watch_every": 50,
        },
        # Dong et al. 2024, section 4, for 7B parameters; the rate follows the size of the model
        "undial": {"rank": 8, "alpha": 16.0},
    }
)
