"""The request: who asks for what, about which works, corpora and model, and when it is met.

`request.yaml`, schema `forgetkit.request/1`. Paths in it are relative to the file itself.
"""

from __future__ import annotations

import calendar
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from forgetkit import schema
from forgetkit.config import Config, parse, read_yaml
from forgetkit.errors import InputError

Type = Literal[
    "copyright",
    "dmca",
    "gdpr_erasure",
    "opt_out",
    "contract",
    "court_order",
    "safety",
    "correction",
    "counter_notice",
    "retraction",
]


def _as_text(value: Any) -> Any:
    """Accept YAML's own dates."""
    return value.isoformat() if isinstance(value, date) else value


Day = Annotated[str, BeforeValidator(_as_text)]


class Party(Config):
    """Someone in the request."""

    role: str = Field(description="requester, rights_holder, operator, ...")
    name: str = ""
    organisation: str = ""
    contact: str = ""


class WorkNamed(Config):
    """A protected work."""

    title: str
    identifiers: dict[str, str] = Field(default_factory=dict)
    files: list[Path] = Field(default_factory=list, description="Its text: files or folders.")


class Harm(Config):
    """A kind of harm to find and to suppress."""

    category: str = Field(description="What it is, in words.")
    classifier: str = Field("bundled", description="Classifier that finds it in the corpus.")
    threshold: float | None = Field(None, ge=0, le=1)
    prompts: Path | None = Field(None, description="Prompts that the model must stop answering.")


class Targets(Config):
    """What the request is aimed at."""

    corpora: list[Path] = Field(min_length=1, description="Corpus files or folders.")
    record_ids: Path | None = Field(None, description="JSONL with the ids of named records.")
    model: str = Field(description="The target model: a folder, a hub id or an alias.")


class Request(Config):
    """A takedown request."""

    schema_: str = Field(schema.REQUEST, alias="schema")
    id: str = Field(min_length=1)
    type: Type
    received_at: Day
    due_at: Day | None = None
    parties: list[Party] = Field(default_factory=list)
    works: list[WorkNamed] = Field(default_factory=list)
    harms: list[Harm] = Field(default_factory=list)
    targets: Targets
    remedy: Literal["redact_corpus", "unlearn", "both"] = "unlearn"
    handling: Literal["text", "sensitive", "do_not_display", "escalate_only"] = "sensitive"
    acceptance: dict[str, Any] = Field(default_factory=dict, description="Thresholds by metric.")
    settings: Path | None = Field(None, description="The operator's settings (YAML).")

    def due(self) -> str | None:
        """Return the due date: as given; for a GDPR erasure one month after receipt."""
        if self.due_at or self.type != "gdpr_erasure":
            return self.due_at
        received = date.fromisoformat(self.received_at[:10])
        year, month = divmod(received.year * 12 + received.month, 12)
        last = calendar.monthrange(year, month + 1)[1]
        return date(year, month + 1, min(received.day, last)).isoformat()

    @property
    def is_harmful(self) -> bool:
        """Say whether the request is about harmful answers."""
        return bool(self.harms)


def load_request(path: Path) -> Request:
    """Read and check a request; its paths become absolute.

    Raises:
        InputError: naming the field that is wrong or missing, or the path that does not exist.
    """
    content = read_yaml(path)
    request = parse(Request, content, where=str(path))
    if request.schema_ != schema.REQUEST:
        raise InputError("unknown schema", where=f"{path}: schema", found=request.schema_)
    if request.handling == "escalate_only":
        raise InputError(
            "asks to be escalated only: nothing is read, built or shown",
            where=f"{path}: handling",
            mend="Hand it to the people your policy names.",
        )
    if not request.works and not request.harms:
        raise InputError("names neither works nor harms", where=str(path))
    _check_dates(request, path)
    return _absolute(request, path)


def _check_dates(request: Request, path: Path) -> None:
    for name in ("received_at", "due_at"):
        value = getattr(request, name)
        try:
            if value:
                date.fromisoformat(value[:10])
        except ValueError as error:
            raise InputError("is no date", where=f"{path}: {name}", found=value) from error


def _absolute(request: Request, path: Path) -> Request:
    base = path.resolve().parent

    def place(value: Path, field: str) -> Path:
        full = value if value.is_absolute() else base / value
        if not full.exists():
            raise InputError("no such file or folder", where=f"{path}: {field}", found=str(value))
        return full

    works = [
        w.model_copy(update={"files": [place(f, "works.files") for f in w.files]})
        for w in request.works
    ]
    for work in works:
        if not work.files:
            raise InputError("gives no file of the work", where=f"{path}: works: {work.title}")
    harms = [
        h.model_copy(update={"prompts": place(h.prompts, "harms.prompts") if h.prompts else None})
        for h in request.harms
    ]
    targets = request.targets
    model = targets.model
    if (base / model).exists() or model.startswith("."):
        model = str((base / model).resolve())
    ids = place(targets.record_ids, "targets.record_ids") if targets.record_ids else None
    corpora = [place(c, "targets.corpora") for c in targets.corpora]
    placed = targets.model_copy(update={"corpora": corpora, "model": model, "record_ids": ids})
    settings = place(request.settings, "settings") if request.settings else None
    return request.model_copy(
        update={"works": works, "harms": harms, "targets": placed, "settings": settings}
    )
