"""Data sets of the Hugging Face hub; the only file that calls `datasets`.

`hf:org/name` names every split of a data set, `hf:org/name@train` one of them,
`hf:org/name/config@train` one of a configuration; a folder that `datasets` can load may stand for
the id. The library downloads a data set and keeps it as Arrow files in its cache; those files are
the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forgetkit.errors import InputError

PREFIX = "hf:"
_FORMS = "Write hf:org/name, hf:org/name@split or hf:org/name/config@split."


def is_hub(path: Path) -> bool:
    """Say whether a path names a data set of the hub.

    >>> is_hub(Path("hf:org/name@train"))
    True
    """
    return str(path).startswith(PREFIX)


def hub_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the Arrow files of a data set with the labels `org/name/split-00000.arrow`.

    Raises:
        InputError: the data set cannot be had, or a part of a split is asked for.
    """
    name, _, split = str(path).removeprefix(PREFIX).partition("@")
    whole, sliced, _ = split.partition("[")
    if sliced:
        raise InputError(
            "a split is read whole",
            where=str(path),
            mend=f"Write hf:{name}@{whole}, or save the rows and name their folder.",
        )
    if any((Path(name) / about).is_file() for about in ("state.json", "dataset_dict.json")):
        raise InputError("is a saved data set", where=str(path), mend=f"Write {name}, without hf:.")
    label, name, part = _named(name)
    found = _loaded(name, part, split, str(path), _FORMS)
    splits = {split: found} if split else dict(found)
    for title, rows in sorted(splits.items()):
        for number, file in enumerate(rows.cache_files):
            yield f"{label}/{title}-{number:05}.arrow", Path(file["filename"])


def _named(name: str) -> tuple[str, str, str]:
    """Return what labels begin with, the data set and its configuration.

    >>> _named("org/name/config")
    ('org/name/config', 'org/name', 'config')
    """
    if Path(name).is_dir():
        return Path(name).resolve().name, name, ""
    parts = name.split("/")
    return name, "/".join(parts[:2]), "/".join(parts[2:])


def hub_rows(name: str, part: str, split: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one split of a data set.

    Args:
        name: `org/name` of the hub, or the folder of a local data set.
        part: its configuration; empty where it has only one.
        split: such as train, or train[:100] for the first hundred rows.

    Raises:
        InputError: the data set cannot be had.
    """
    yield from _loaded(name, part, split, f"{name} {part} {split}")


def _loaded(name: str, part: str, split: str, where: str, mend: str = "") -> Any:
    import datasets

    try:
        return datasets.load_dataset(name, part or None, split=split or None)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            "cannot be loaded from the hub", where=where, found=str(error)[:200], mend=mend
        ) from error
