"""Where the figures come from: commit, processor, load, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "avx512f", "avx512vl", "avx512_bf16", "amx_bf16", "neon")
PACKAGES = ("numpy", "numba", "pyarrow", "torch", "sentence-transformers", "scikit-learn")


def machine(root: Path) -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    return {
        "commit": _git(root, "rev-parse", "--short=12", "HEAD"),
        "clean": not _git(root, "status", "--porcelain", "--", "forgetkit", "cli"),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor("model name") or platform.processor(),
        "flags": [flag for flag in FLAGS if flag in _processor("flags").split()],
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _processor(key: str) -> str:
    """Return one field of the first processor, empty where the system does not say."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
