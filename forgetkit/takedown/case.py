"""A case: one request being processed, a folder with everything in it.

`case.json` holds the state and, for each finished stage, the fingerprint of what it was made from.
The same command goes on where it stopped; a changed input says what changed and runs again from
there, and what it replaces is kept under `earlier/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from forgetkit import __version__
from forgetkit.config import Config, parse
from forgetkit.errors import InputError
from forgetkit.files import digest_of, read_json, write_json
from forgetkit.takedown.ledger import Ledger

STATES = (
    "received",
    "mined",
    "reviewed",
    "approved",
    "built",
    "unlearned",
    "verified",
    "answered",
)
SCHEMA = "forgetkit.case/1"


class _Stage(Config):
    """What a case knows of a stage; more may stand there."""

    model_config = ConfigDict(extra="ignore")

    inputs: dict[str, str]


class _Content(Config):
    """What must stand in `case.json`; more may."""

    model_config = ConfigDict(extra="ignore")

    request: str
    state: Literal[STATES]  # type: ignore[valid-type]
    stages: dict[str, _Stage]
    due_at: date | datetime | None = None


@dataclass
class Case:
    """The state of a case on disk.

    Attributes:
        folder: the case folder.
        content: what `case.json` holds.
        ledger: its log.
    """

    folder: Path
    content: dict[str, Any]
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        """Open the ledger."""
        self.ledger = Ledger(self.folder / "ledger.jsonl")

    @property
    def state(self) -> str:
        """Return where the case stands."""
        return str(self.content["state"])

    def move(self, state: str, **more: Any) -> None:
        """Record a state, and what is known with it."""
        self.content |= {"state": state} | more
        self.save()

    def save(self) -> None:
        """Write `case.json`."""
        write_json(self.folder / "case.json", self.content)

    def prepare(self, stage: str, inputs: Mapping[str, Any]) -> str:
        """Make a stage's folder ready, and say what changed since it last ran.

        Args:
            stage: name of the stage and of its folder.
            inputs: digests and settings that the stage depends on.

        Returns:
            An empty string when nothing changed or the stage never ran; else what changed.
        """
        identity = dict(inputs) | {"version": __version__}
        known = self.content["stages"].get(stage)
        if known is None or known["inputs"] == _digests(identity):
            self.content["stages"].setdefault(stage, {"seconds": 0.0})
            self.content["stages"][stage]["inputs"] = _digests(identity)
            self.save()
            return ""
        now = _digests(identity)
        old: dict[str, str] = known["inputs"]
        changed = sorted(k for k in now.keys() | old.keys() if now.get(k) != old.get(k))
        self._set_aside(stage)
        self.content["stages"][stage] = {"inputs": now, "seconds": 0.0}
        self.save()
        return ", ".join(changed)

    def finish(self, stage: str, seconds: float, counts: Mapping[str, int]) -> None:
        """Record that a stage is done; a stage that was done already keeps its time."""
        entry = self.content["stages"][stage]
        if seconds >= 0.05 or "counts" not in entry:
            entry["seconds"] = round(seconds, 1)
            entry["counts"] = dict(counts)
            self.ledger.add(stage, subject={"inputs": digest_of(entry["inputs"])}, counts=counts)
        self.save()

    def _set_aside(self, stage: str) -> None:
        folder = self.folder / stage
        if not folder.exists():
            return
        earlier = self.folder / "earlier"
        earlier.mkdir(exist_ok=True)
        number = 1
        while (earlier / f"{stage}-{number}").exists():
            number += 1
        folder.rename(earlier / f"{stage}-{number}")


def _digests(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: digest_of(value) for key, value in values.items()}


def read_case(folder: Path) -> dict[str, Any]:
    """Return what a case's `case.json` holds: request, state, stages, and `due_at` if known.

    Raises:
        InputError: there is none, or it is not one that a takedown writes.
    """
    path = folder / "case.json"
    if not path.is_file():
        raise InputError("is no case", where=str(folder), mend="Run `forgetkit takedown`.")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError("is no case", where=str(path))
    parse(_Content, content, where=str(path))
    return content


def open_case(folder: Path, request_id: str) -> Case:
    """Open a case, or begin one.

    Raises:
        InputError: the folder holds another request's case, or something else.
    """
    if (folder / "case.json").is_file():
        content = read_case(folder)
        if content["request"] != request_id:
            raise InputError(
                "the folder holds the case of another request",
                where=str(folder),
                found=str(content["request"]),
                mend="Choose another --case.",
            )
        return Case(folder, content)
    if folder.is_dir() and any(p.name not in (".lock",) for p in folder.iterdir()):
        raise InputError(
            "the folder is not empty", where=str(folder), mend="Choose another --case."
        )
    folder.mkdir(parents=True, exist_ok=True)
    case = Case(
        folder, {"schema": SCHEMA, "request": request_id, "state": "received", "stages": {}}
    )
    case.save()
    return case
