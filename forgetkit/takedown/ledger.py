"""The ledger: a hash-chained log of a case; ids, digests and counts, never text.

Each line is one canonical JSON object whose `prev` is the SHA-256 of the line before. Whoever keeps
the file can rebuild the whole chain; the head printed elsewhere is the anchor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from forgetkit import __version__, schema
from forgetkit.errors import StorageError, TamperedError
from forgetkit.files import canonical_json, sha256_bytes

START = "0" * 64


class Ledger:
    """Append events to `ledger.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(
        self,
        event: str,
        *,
        actor: str = "forgetkit",
        subject: Mapping[str, str] | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> str:
        """Append one event and return the new head.

        Raises:
            StorageError: the file cannot be written.
        """
        lines = self.lines()
        entry = {
            "schema": schema.LEDGER,
            "seq": len(lines),
            "ts": datetime.now(UTC).isoformat(timespec="seconds"),
            "actor": actor,
            "event": event,
            "subject": dict(subject or {}),
            "counts": dict(counts or {}),
            "tool_version": __version__,
            "prev": head(lines),
        }
        line = canonical_json(entry)
        try:
            with self._path.open("a", encoding="utf-8", newline="") as stream:
                stream.write(line + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            found = error.strerror or str(error)
            raise StorageError("cannot be written", where=str(self._path), found=found) from error
        return sha256_bytes(line.encode())

    def lines(self) -> list[str]:
        """Return the whole lines; one cut off by a kill is dropped from the file."""
        if not self._path.is_file():
            return []
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            with self._path.open("r+b") as stream:
                stream.truncate(len(whole))
        return whole.decode("utf-8").split("\n")[:-1]


def head(lines: list[str]) -> str:
    """Return the hash that the next line carries."""
    return sha256_bytes(lines[-1].encode()) if lines else START


def check_chain(path: Path) -> str:
    """Recompute the chain and return its head.

    Raises:
        TamperedError: naming the first line that does not follow from the one before.
    """
    expected = START
    for number, line in enumerate(Ledger(path).lines(), 1):
        try:
            entry = json.loads(line)
            prev, seq = entry["prev"], entry["seq"]
        except (ValueError, KeyError, TypeError) as error:
            raise TamperedError("is no ledger line", where=f"{path}:{number}") from error
        if prev != expected or seq != number - 1:
            raise TamperedError("does not follow from the line before", where=f"{path}:{number}")
        expected = sha256_bytes(line.encode())
    return expected
