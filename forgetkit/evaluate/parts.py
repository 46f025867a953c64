"""What an interrupted evaluation had measured: read back by the same command."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forgetkit.errors import InputError
from forgetkit.evaluate.attacks.report import AttackReport
from forgetkit.evaluate.sample import Sample, read_samples, write_samples
from forgetkit.files import PARTS, read_json, write_json


class Parts:
    """Finished units of one evaluation, in files of its output folder.

    Args:
        folder: the output folder.
        digest: of what makes two runs the same; part of the names.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder, self._digest = folder / PARTS, digest[:16]

    def load(self, name: str) -> list[Sample] | None:
        """Return a unit's rows, or None when it was not finished."""
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            return read_samples(path)
        except InputError:  # written by another version, or damaged: measure again
            return None

    def save(self, name: str, samples: Sequence[Sample]) -> None:
        """Keep a finished unit."""
        write_samples(self._path(name), samples)

    def load_report(self, name: str) -> AttackReport | None:
        """Return what an attack said, or None when it was not finished."""
        path = self._path(name).with_suffix(".json")
        try:
            return AttackReport.of(read_json(path)) if path.is_file() else None
        except (InputError, TypeError, KeyError):
            return None

    def save_report(self, report: AttackReport, name: str) -> None:
        """Keep what an attack said."""
        write_json(self._path(name).with_suffix(".json"), report.content(), private=True)

    def load_rows(self, name: str) -> list[dict[str, Any]] | None:
        """Return kept rows, or None when they were not finished."""
        path = self._path(name).with_suffix(".json")
        try:
            found = read_json(path) if path.is_file() else None
        except InputError:
            return None
        return found if isinstance(found, list) else None

    def save_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Keep rows that were finished."""
        write_json(self._path(name).with_suffix(".json"), rows, private=True)

    def clear(self) -> None:
        """Remove every unit: the results are complete."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{self._digest}-{name}.parquet"
