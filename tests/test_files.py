from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgetkit.errors import InputError, LockedError, StorageError, UsageError
from forgetkit.files import (
    atomic_path,
    canonical_json,
    claim_folder,
    locked,
    read_json,
    sha256_bytes,
    sha256_file,
    sha256_tree,
    write_bytes,
    write_json,
    write_text,
)

OLD, NEW = b"old content\n", b"the new content, which is longer\n"


class Failing:
    """Let the n-th operation on files fail."""

    def __init__(self, nth: int, error: int) -> None:
        self.nth, self.error, self.seen = nth, error, 0

    def wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*values: Any, **named: Any) -> Any:
            self.seen += 1
            if self.seen == self.nth:
                raise OSError(self.error, os.strerror(self.error))
            return original(*values, **named)

        return operation


class Short(io.FileIO):
    """A file on a disk that is full after three bytes."""

    def write(self, content: Any) -> int:
        super().write(bytes(content)[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("private", [False, True])
def test_a_file_is_old_or_new_whichever_operation_fails(
    tmp_path: Path, error: int, private: bool
) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_bytes(path, OLD)
    failures = 0
    for nth in range(1, 60):
        failing = Failing(nth, error)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "fsync", "chmod", "replace", "mkdir"):
                patch.setattr(os, name, failing.wrap(getattr(os, name)))
            patch.setattr(io, "open", failing.wrap(io.open))
            try:
                write_bytes(path, NEW, private=private)
                failed = False
            except StorageError:
                failed = True
        assert path.read_bytes() in (OLD, NEW)
        assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
        if failing.seen < nth:
            break
        failures += failed
        write_bytes(path, OLD)
    assert not failed
    assert failures >= 5
    assert path.read_bytes() == NEW


def test_a_short_write_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_bytes(path, OLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", lambda file, *_, **__: Short(file, "w"))
        with pytest.raises(StorageError, match="No space left"):
            write_bytes(path, NEW)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_bytes(path, OLD)

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(NEW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "private", "x", private=True)
    write_text(tmp_path / "public", "x")
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o644


def test_text_keeps_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "one\r\ntwo\n\u2028three")
    assert (tmp_path / "a").read_bytes() == "one\r\ntwo\n\u2028three".encode()


def test_json_is_sorted_and_reads_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "é"})
    assert (tmp_path / "a.json").read_text("utf-8").startswith('{\n  "a": "é",\n  "b"')
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": [1, 2.5]}
    assert canonical_json({"b": 1, "a": 2}) == '{"a":2,"b":1}'


def test_nan_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"", b"[" * 200_000])
def test_bad_json_is_an_input_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_missing_json_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError):
            read_json(path)
    with pytest.raises(InputError):
        sha256_file(tmp_path / "none")


def test_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"abc")
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "link").symlink_to("/etc/hostname")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_bytes(b"abc") == sha256_file(tmp_path / "sub" / "b") == known
    assert list(sha256_tree(tmp_path)) == ["a", "sub/b"]
    assert sha256_tree(tmp_path / "a") == {"a": sha256_bytes(b"")}


def test_an_absent_or_empty_folder_is_free_and_the_same_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "absent" / "deep", tmp_path / "empty"):
        assert claim_folder(folder, "run.json", {"a": 1}) is False
        (folder / "half written").write_text("x")
        assert claim_folder(folder, "run.json", {"a": 1}) is False
        (folder / "run.json").write_text("{}")
        assert claim_folder(folder, "run.json", {"a": 1}) is True


def test_another_run_does_not_take_the_folder(tmp_path: Path) -> None:
    claim_folder(tmp_path / "a", "run.json", {"a": 1})
    (tmp_path / "a" / "adapter").mkdir()
    for finished in (False, True):
        if finished:
            (tmp_path / "a" / "run.json").write_text("{}")
        with pytest.raises(UsageError, match="holds something else"):
            claim_folder(tmp_path / "a", "run.json", {"a": 2})


def test_a_folder_with_other_files_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("x")
    with pytest.raises(UsageError, match="holds something else"):
        claim_folder(tmp_path, "run.json", {})
    with pytest.raises(UsageError, match="is a file"):
        claim_folder(tmp_path / "letter.txt", "run.json", {})


def test_what_a_failed_run_left_is_no_obstacle(tmp_path: Path) -> None:
    """A corpus with too many bad rows, mended, goes to the same folder."""
    claim_folder(tmp_path, "summary.json", {"a": 1})
    (tmp_path / "quarantine.jsonl").write_text("{}")
    assert claim_folder(tmp_path, "summary.json", {"a": 2}) is False
    (tmp_path / "summary.json").write_text("{}")
    assert claim_folder(tmp_path, "summary.json", {"a": 2}) is True


def test_a_run_killed_while_it_claimed_its_folder_starts_again(tmp_path: Path) -> None:
    (tmp_path / "..run.json.started.x1y2z3.started").write_text("")
    assert claim_folder(tmp_path, "run.json", {"a": 1}) is False


def test_a_second_process_is_locked_out_by_name(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from forgetkit.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid}"), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with locked(tmp_path):
            assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), locked(tmp_path / "file" / "sub"):
        pass
    with pytest.raises(StorageError):
        write_text(tmp_path / "file" / "sub", "x")
