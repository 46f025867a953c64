"""Configuration: frozen models with units and ranges; flag > environment > file > default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from forgetkit.errors import InputError, UsageError, nearest


class Config(BaseModel):
    """The settings of one command: immutable; unknown keys, infinity and NaN are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


C = TypeVar("C", bound=Config)

SECTIONS = ("data", "approval", "mine", "dedupe", "redact", "build", "teach", "unlearn", "evaluate")
"""What a settings file may hold; each command reads its own section."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InputError: the file is missing, is not YAML, or is no mapping.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path)) from error
    except OSError as error:
        raise InputError("cannot be read", where=str(path), found=str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=str(path), found=error.reason) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        found = str(getattr(error, "problem", error))
        raise InputError("is not YAML", where=where, found=found) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError("is not a mapping of keys to values", where=str(path))
    return content


def environment(section: str, fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of one section that `FORGETKIT_<SECTION>_<FIELD>` variables give."""
    names = {f"FORGETKIT_{section}_{field}".upper(): field for field in fields}
    return {names[key]: value for key, value in os.environ.items() if key in names}


def resolve(model: type[C], section: str, flags: Mapping[str, Any], file: Path | None = None) -> C:
    """Merge flags, environment, file and defaults into one checked configuration.

    Args:
        model: the configuration class.
        section: its key in the YAML file and in `FORGETKIT_<SECTION>_*` variables.
        flags: what the command line gave; None means not given.
        file: a YAML file which may hold the sections of several commands.

    Raises:
        InputError: an unknown key or a value out of range, with the key's name.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        content = read_yaml(file)
        known = (*SECTIONS, section)
        for name in content:
            if name not in known:
                where = f"{file}: {name}"
                raise InputError("unknown section", where=where, mend=nearest(str(name), known))
        found = content.get(section, {})
        if not isinstance(found, dict):
            raise InputError("is not a mapping", where=f"{file}: {section}")
        merged |= found
    merged |= environment(section, model.model_fields)
    merged |= {key: value for key, value in flags.items() if value is not None}
    return parse(model, merged, where=str(file) if file else section)


def parse(model: type[C], values: Mapping[str, Any], where: str) -> C:
    """Check a mapping against a model; an unknown key answers with the nearest name.

    Raises:
        InputError: naming the first field that is wrong.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _explain(error, model, where) from error


def _explain(error: ValidationError, model: type[BaseModel], where: str) -> InputError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    place = f"{where}: {'.'.join(path)}"
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        return InputError("unknown key", where=place, mend=nearest(path[-1], known))
    found = repr(first["input"])[:80] if first["type"] != "missing" else ""
    return InputError(first["msg"].removeprefix("Value error, "), where=place, found=found)


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is not None:
            model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def existing(path: str | Path, what: str) -> Path:
    """Return the path when something is there.

    Raises:
        InputError: nothing is there.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{what} does not exist", where=str(path))
    return path


def choice(name: str, known: Mapping[str, Any] | list[str], what: str) -> str:
    """Return the name when it is known.

    Raises:
        UsageError: it is not; the message names the closest.
    """
    if name not in known:
        raise UsageError(f"unknown {what} '{name}'", mend=nearest(name, known))
    return name
