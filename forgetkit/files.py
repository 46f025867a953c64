"""Files: atomic writes, digests, locks, output folders. No torch here, so that tests can kill it.

A file appears whole or not at all: written beside its place, flushed to disk, renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from forgetkit.errors import InputError, LockedError, StorageError, UsageError

PARTS = ".parts"
"""Folder inside an output folder for what tasks gave, until the output is complete."""
STATE = "state.pt"
"""File inside an output folder with a training's state, until the output is complete."""


@contextlib.contextmanager
def atomic_path(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it takes its place.

    Args:
        path: where the file shall appear; its folder is created.
        private: give the file mode 0600 (it holds protected or harmful text).

    Raises:
        StorageError: the folder or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
    except OSError as error:
        raise _storage(path, error) from error
    temporary = Path(name)
    try:
        os.close(handle)
        yield temporary
        temporary.chmod(0o600 if private else 0o644)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise _storage(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_stream(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Yield a binary file to write piece by piece; on success it takes the place of `path`.

    Raises:
        StorageError: the folder or the file cannot be written.
    """
    with atomic_path(path, private=private) as temporary, temporary.open("wb") as stream:
        yield stream


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[BinaryIO]:
    """Yield a file for what outgrows memory and no later run reads; it is made anew.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            yield stream
    except OSError as error:
        raise _storage(path, error) from error


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed runs left behind: the temporary files of these names."""
    for name in names:
        for left in folder.glob(f".{name}.*"):
            if left.name != f".{name}.started" and left.is_file():
                left.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _storage(path: Path, error: OSError) -> StorageError:
    return StorageError("cannot be written", where=str(path), found=error.strerror or str(error))


def write_bytes(path: Path, content: bytes | memoryview, *, private: bool = False) -> None:
    """Write bytes atomically."""
    with atomic_path(path, private=private) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write UTF-8 text atomically, line ends as given."""
    write_bytes(path, text.encode("utf-8"), private=private)


def canonical_json(value: Any) -> str:
    """Return JSON on one line with sorted keys and no spare spaces; NaN is refused."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write a JSON value atomically: sorted keys, two spaces, a final newline."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", private=private)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path)) from error
    except OSError as error:
        raise InputError("cannot be read", where=str(path), found=str(error.strerror)) from error
    except (ValueError, RecursionError) as error:
        raise InputError("is not JSON", where=str(path), found=str(error)) from error


def sha256_bytes(content: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in pieces."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError("cannot be read", where=str(path), found=str(error.strerror)) from error


def sha256_tree(path: Path) -> dict[str, str]:
    """Return the digest of every regular file below a folder (or of one file), by relative path."""
    if path.is_file():
        return {path.name: sha256_file(path)}
    found = sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink())
    return {p.relative_to(path).as_posix(): sha256_file(p) for p in found}


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return sha256_bytes(canonical_json(value).encode("utf-8"))


def claim_folder(folder: Path, marker: str, identity: dict[str, Any]) -> bool:
    """Take a folder for one output; say whether the same run is already complete there.

    A folder is free when it is absent, empty, holds the same run (`marker` with the same
    identity), or what a run left that failed before it wrote anything. The caller writes the
    marker last.

    Args:
        folder: the output folder; created.
        marker: name of the file that marks completion.
        identity: what makes two runs the same (configuration, digests of inputs).

    Returns:
        True when the marker is there with the same identity, so nothing is left to do.

    Raises:
        UsageError: the folder holds something else.
    """
    state = folder_state(folder, marker, lambda: identity)
    if state == "new":
        write_text(folder / f".{marker}.started", digest_of(identity))
    return state == "done"


def folder_state(
    folder: Path, marker: str, identity: Callable[[], dict[str, Any]]
) -> Literal["new", "begun", "done"]:
    """Say what `claim_folder` finds of a run: nothing, its beginning or its end; write nothing.

    Args:
        folder: the output folder.
        marker: as of `claim_folder`.
        identity: gives what makes two runs the same; not asked where the folder is empty.

    Raises:
        UsageError: the folder holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("--out is a file", where=str(folder), mend="Name a folder.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return "new"
    started, digest = folder / f".{marker}.started", digest_of(identity())

    def is_same() -> bool:
        return started.is_file() and started.read_text(encoding="utf-8") == digest

    if (folder / marker).is_file() and started.is_file():
        if is_same():
            return "done"
        raise _taken(folder)
    if is_same():
        return "begun"
    if not _left_by_a_failed_run(folder):
        if is_same():
            return "begun"  # another shard of the same run came first just now
        raise _taken(folder)
    return "new"


def check_space(folder: Path, size: int) -> int:
    """Check that a folder, or the one that it will be made in, can be written and has the room.

    Args:
        folder: the output folder.
        size: bytes that will be written, about.

    Returns:
        The bytes that are free there.

    Raises:
        StorageError: it cannot, or has not.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    if not os.access(there, os.W_OK):
        raise StorageError("cannot be written", where=str(folder), found="Permission denied")
    free = shutil.disk_usage(there).free
    if free < size:
        raise StorageError(
            f"about {size >> 20} MiB will be written, and there is less room",
            where=str(there),
            found=f"{free >> 20} MiB free",
            mend="Make room, or choose another --out.",
        )
    return free


def _left_by_a_failed_run(folder: Path) -> bool:
    """Say whether a folder holds no more than what a run leaves that wrote no result.

    That is its claim (perhaps a temporary file of it, after a kill), the bad rows it met, and
    parts that are named by what they were made of.
    """
    names = {path.name for path in folder.iterdir()}
    claims = {name for name in names if name.startswith(".") and ".started" in name}
    return not names or (bool(claims) and names <= claims | {"quarantine.jsonl", PARTS, STATE})


def _taken(folder: Path) -> UsageError:
    return UsageError(
        "the output folder holds something else",
        where=str(folder),
        mend="Choose another --out, or remove the folder.",
    )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process.

    Raises:
        LockedError: another process holds it; the message names its process id.
        StorageError: the folder cannot be written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _storage(path, error) from error
    with opened as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise LockedError(
                "another process works on this case",
                where=str(folder),
                found=f"process {holder}",
                mend="Wait for it to end, then run the same command again.",
            ) from error
        stream.seek(0)
        stream.truncate()
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def cache_folder() -> Path:
    """Return the user's cache folder (`FORGETKIT_CACHE`, else XDG)."""
    given = os.environ.get("FORGETKIT_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "forgetkit"
