"""Files that fail: the n-th operation of a run is refused, cut short, or its last."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KINDS = ("kill", "ENOSPC", "EIO", "short")
_OPEN = Path.open


class Killed(BaseException):
    """What is left of a process that was killed."""


class Faults:
    """Let the n-th operation on files fail, and all later ones of a killed process."""

    def __init__(self, nth: int, kind: str) -> None:
        self.nth, self.kind, self.seen = nth, kind, 0

    def wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*values: Any, **named: Any) -> Any:
            self.count(lambda: _half(original, values))
            return original(*values, **named)

        return operation

    def count(self, shorten: Callable[[], object]) -> None:
        """Count an operation, or let it fail; a short write writes half before."""
        self.seen += 1
        if self.kind == "kill" and self.seen >= self.nth:
            raise Killed
        if self.seen == self.nth:
            if self.kind == "short":
                shorten()
            number = errno.ENOSPC if self.kind == "short" else getattr(errno, self.kind)
            raise OSError(number, os.strerror(number))

    def open(self, path: Path, mode: str = "r", *values: Any, **named: Any) -> Any:
        """Open a file; one that is written to fails too."""
        if mode[0] not in "wxa":
            return _OPEN(path, mode, *values, **named)
        self.count(lambda: None)
        return Stream(_OPEN(path, mode, *values, **named), self)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(os, "fsync", self.wrap(lambda handle: None))  # no need to reach a disk
        patch.setattr(
            Path, "open", lambda path, *values, **named: self.open(path, *values, **named)
        )
        for place, name in (
            (tempfile, "mkstemp"),
            (Path, "replace"),
            (Path, "chmod"),
            (Path, "mkdir"),
            (Path, "write_bytes"),
            (Path, "unlink"),
            (shutil, "rmtree"),
            (shutil, "copyfile"),
        ):
            patch.setattr(place, name, self.wrap(getattr(place, name)))


class Stream:
    """A file that is open for writing; its first two writes may fail."""

    def __init__(self, stream: Any, faults: Faults) -> None:
        self._stream, self._faults, self._written = stream, faults, 0

    def write(self, content: Any) -> Any:
        self._written += 1
        if self._written <= 2:
            self._faults.count(lambda: self._stream.write(bytes(content)[: len(content) // 2]))
        return self._stream.write(content)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _half(original: Callable[..., Any], values: tuple[Any, ...]) -> None:
    if getattr(original, "__name__", "") == "write_bytes":
        with _OPEN(values[0], "wb") as stream:
            stream.write(values[1][: len(values[1]) // 2])
