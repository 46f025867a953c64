"""Flags that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from forgetkit.errors import UsageError

T = TypeVar("T")

Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file; this command's section is read.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of every random choice.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write; created.")]
Workers = Annotated[
    int, typer.Option("--workers", min=1, help="Threads or processes that work at once.")
]
Engine = Annotated[
    str, typer.Option("--engine", help="local, or ray: a cluster (RAY_ADDRESS), else one here.")
]
Shard = Annotated[
    str | None,
    typer.Option("--shard", help="Only part i/n of the work; then once without, to gather."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting of this command as key=value; may be repeated."),
]

Adapter = Annotated[Path | None, typer.Option("--adapter", help="Adapter to put on --model.")]
Before = Annotated[
    str | None,
    typer.Option(
        "--before",
        help="Target model, to compare with; without it or --adapter only thresholds that are "
        "named are judged.",
    ),
]
RetainModel = Annotated[
    str | None,
    typer.Option("--retain-model", help="Model trained without the forget set: the control."),
]


def given(values: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Merge `--set key=value` with the flags that were given.

    Raises:
        UsageError: a value without `=`.
    """
    import yaml

    found: dict[str, Any] = {}
    for item in values or []:
        key, sign, value = item.partition("=")
        if not sign:
            raise UsageError(f"--set {item} lacks '='", mend="Write --set key=value.")
        parts = key.strip().split(".")
        place = found
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set {item} names a part of a single value")
        try:
            place[parts[-1]] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {item} has no readable value") from error
    return found | {key: value for key, value in flags.items() if value is not None}


def needed(flag: str, value: T | None) -> T:
    """Return the value of a flag that this way of calling the command needs.

    Raises:
        UsageError: the flag was not given.
    """
    if value is None:
        raise UsageError(f"Missing option '{flag}'", mend="See --help.")
    return value
