"""Decisions: accept or reject of a span by a person or a rule, with a reason, kept with history.

SQLite, append-only: the latest row of a span counts.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from forgetkit.errors import InputError, StorageError

_TABLE = """CREATE TABLE IF NOT EXISTS decisions (
  seq INTEGER PRIMARY KEY, span_id TEXT NOT NULL, accepted INTEGER NOT NULL,
  reviewer TEXT NOT NULL, reason TEXT NOT NULL, decided_at TEXT NOT NULL)"""


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        span_id: of the span.
        accepted: it belongs to the request.
        reviewer: a name, or `rule` when a threshold decided.
        reason: why.
        decided_at: ISO 8601, UTC.
    """

    span_id: str
    accepted: bool
    reviewer: str
    reason: str
    decided_at: str


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=10)
    except (OSError, sqlite3.Error) as error:
        raise StorageError("cannot be opened", where=str(path), found=str(error)) from error
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(_TABLE)
        with connection:
            yield connection
    except sqlite3.OperationalError as error:  # locked, read-only, disk full
        raise StorageError("cannot be used", where=str(path), found=str(error)) from error
    except sqlite3.DatabaseError as error:
        raise InputError("is no decisions file", where=str(path), found=str(error)) from error
    finally:
        connection.close()
    path.chmod(0o600)


def record(path: Path, decisions: Iterable[Decision]) -> None:
    """Add decisions; an earlier one of the same span stays in the history."""
    rows = [(d.span_id, int(d.accepted), d.reviewer, d.reason, d.decided_at) for d in decisions]
    with _open(path) as connection:
        connection.executemany(
            "INSERT INTO decisions (span_id, accepted, reviewer, reason, decided_at) "
            "VALUES (?, ?, ?, ?, ?)",
            rows,
        )


def current(path: Path) -> Mapping[str, Decision]:
    """Return the latest decision of each span.

    Raises:
        InputError: the file is missing or is none of ours.
    """
    if not path.is_file():
        raise InputError("no such decisions file", where=str(path), mend="Run `forgetkit review`.")
    with _open(path) as connection:
        rows = connection.execute(
            "SELECT span_id, accepted, reviewer, reason, decided_at FROM decisions ORDER BY seq"
        ).fetchall()
    return {row[0]: Decision(row[0], bool(row[1]), *row[2:]) for row in rows}
