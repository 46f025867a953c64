"""Measure one job inside a process: CPU seconds of it and its children, wall seconds, memory.

Nothing but the standard library, so that every peer's environment can read it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cpu_seconds() -> float:
    """Return user and system seconds of this process and of the children that ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    """Return the largest resident set so far of this process or a child of it, in 10^6 bytes.

    Not the system's ru_maxrss of this process: it holds what the process that started it held.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) * 1024 / 1e6


class Stopwatch:
    """Add up the CPU and wall seconds of named parts of a job."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work and return what it returns; its seconds are kept under `name`."""
        cpu, wall = cpu_seconds(), time.perf_counter()
        result = work()
        part = self.parts.setdefault(name, {"cpu": 0.0, "wall": 0.0})
        part["cpu"] += cpu_seconds() - cpu
        part["wall"] += time.perf_counter() - wall
        return result

    def say(self, out: Path, **more: Any) -> None:
        """Write seconds, peak memory and what the job found as JSON."""
        found = {"seconds": self.parts, "peak_mb": round(peak_mb()), **more}
        out.write_text(json.dumps(found), encoding="utf-8")


def arguments() -> tuple[Path, Path, Path]:
    """Return the data folder, a folder for temporary files and the file for the result."""
    data, scratch, out = (Path(name) for name in sys.argv[1:4])
    scratch.mkdir(parents=True, exist_ok=True)
    return data, scratch, out


def version_of(*packages: str) -> str:
    """Return the versions of installed packages as `name 1.2`."""
    from importlib.metadata import version

    return ", ".join(f"{package} {version(package)}" for package in packages)
