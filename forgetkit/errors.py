"""Errors that forgetkit raises: one line each, one exit code each.

ForgetkitError (1)
├── UsageError (2)             wrong flag, unknown name
├── InputError (3)             a file, a request or a configuration that cannot be used
├── AcceptanceError (4)        the thresholds of the request were not met
├── StorageError (5)           reading or writing failed
├── TooManyBadRowsError (6)    more rows were quarantined than allowed
├── LockedError (7)            another process holds the case or the folder
├── TamperedError (8)          a digest does not match
└── OverdueError (9)           a due date has passed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ForgetkitError(Exception):
    """State what went wrong, where, what was found and how to mend it, in one line.

    Args:
        what: what is wrong, as a short statement.
        where: the file, ``file:line`` or field.
        found: what stood there.
        mend: what the user can do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", found: str = "", mend: str = "") -> None:
        self.what, self.where, self.found, self.mend = what, where, found, mend
        parts = [f"{where}: {what}" if where else what]
        if found:
            parts.append(f"found {found}")
        line = "; ".join(parts)
        super().__init__(" ".join(f"{line}. {mend}".split() if mend else line.split()))


class UsageError(ForgetkitError):
    """The command was called in a way it does not know."""

    exit_code = 2


class InputError(ForgetkitError):
    """A file, a request, a model or a configuration cannot be used."""

    exit_code = 3


class AcceptanceError(ForgetkitError):
    """The run finished, and its numbers miss the thresholds fixed before it."""

    exit_code = 4


class StorageError(ForgetkitError):
    """Reading or writing failed."""

    exit_code = 5


class TooManyBadRowsError(ForgetkitError):
    """More rows were quarantined than the configuration allows."""

    exit_code = 6


class LockedError(ForgetkitError):
    """Another process holds this folder."""

    exit_code = 7


class TamperedError(ForgetkitError):
    """A file does not have the digest recorded for it."""

    exit_code = 8


class OverdueError(ForgetkitError):
    """A due date has passed."""

    exit_code = 9


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known word, or lists them all.

    >>> nearest("npoo", ["npo", "ga"])
    "Did you mean 'npo'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(names)}."


def load_errors() -> tuple[type[Exception], ...]:
    """Return what the libraries raise where the files of a model or an adapter are damaged."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    plain = (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError)
    return (*plain, SafetensorError, StrictDataclassError)
