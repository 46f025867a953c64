"""Trackers: losses by name and what the looks said, never text."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from forgetkit.errors import UsageError

FOLDER = "TENSORBOARD_LOGGING_DIR"


def check_trackers(names: Sequence[str]) -> None:
    """Check that the packages of the trackers are installed.

    Raises:
        UsageError: one is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"the package {name} is not installed", mend=f"pip install {name}")


@contextlib.contextmanager
def tracked_below(out: Path) -> Iterator[None]:
    """Let TensorBoard write its files below the output folder, unless the user says where."""
    if FOLDER in os.environ:
        yield
        return
    os.environ[FOLDER] = str(out / "tensorboard")
    try:
        yield
    finally:
        del os.environ[FOLDER]
