from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from forgetkit.decisions import Decision, current, record
from forgetkit.errors import InputError, StorageError

NOW = "2026-01-01T00:00:00+00:00"


def decision(span: str, accepted: bool, reason: str = "a copy") -> Decision:
    return Decision(span, accepted, "Ada", reason, NOW)


def test_the_latest_decision_counts_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "decisions.sqlite"
    record(path, [decision("a", True), decision("b", True)])
    record(path, [decision("a", False, "a quotation")])
    assert current(path) == {"a": decision("a", False, "a quotation"), "b": decision("b", True)}
    connection = sqlite3.connect(path)
    history = connection.execute("SELECT span_id, accepted FROM decisions ORDER BY seq").fetchall()
    connection.close()
    assert history == [("a", 1), ("b", 1), ("a", 0)]


def test_decisions_are_for_their_owner_alone(tmp_path: Path) -> None:
    record(tmp_path / "d", [decision("a", True)])
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o600


def test_hostile_words_are_kept_as_they_are(tmp_path: Path) -> None:
    strange = decision("x'); DROP TABLE decisions; --", True, "é\n\x00ü")
    record(tmp_path / "d", [strange])
    assert current(tmp_path / "d") == {strange.span_id: strange}


def test_a_missing_file_and_another_file_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such decisions file"):
        current(tmp_path / "none")
    (tmp_path / "text").write_text("certainly no database" * 100, encoding="utf-8")
    with pytest.raises(InputError, match="no decisions file"):
        current(tmp_path / "text")


def test_a_failed_batch_leaves_no_part_of_it(tmp_path: Path) -> None:
    record(tmp_path / "d", [decision("a", True)])
    broken = Decision("c", True, "Ada", None, NOW)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        record(tmp_path / "d", [decision("b", True), broken])
    assert list(current(tmp_path / "d")) == ["a"]


def test_a_file_that_another_process_holds_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "d", [decision("a", True)])
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.01))
    holder = connect(tmp_path / "d", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="locked"):
        record(tmp_path / "d", [decision("b", True)])
    holder.close()
