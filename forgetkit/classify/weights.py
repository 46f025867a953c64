"""Weights on disk: an ``.npz`` of plain arrays and a card that holds its SHA-256."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.errors import InputError, TamperedError
from forgetkit.files import atomic_path, read_json, sha256_file, write_json

MODELS = Path(__file__).resolve().parent / "models"

Arrays = dict[str, npt.NDArray[Any]]


def open_weights(name: str, folder: Path = MODELS) -> tuple[dict[str, Any], Arrays]:
    """Return the card and the arrays of one bundled model; no pickle is ever read.

    Args:
        name: ``NAME.json`` and ``NAME.npz`` are read.
        folder: where they lie.

    Raises:
        TamperedError: the weights are not those the card was written for.
        InputError: the card or the weights cannot be read.
    """
    card: dict[str, Any] = read_json(folder / f"{name}.json")
    if not isinstance(card, dict):
        raise InputError("is no card", where=str(folder / f"{name}.json"))
    path = folder / f"{name}.npz"
    found = sha256_file(path)
    if found != card.get("sha256"):
        raise TamperedError(
            "the weights differ from their card",
            where=str(path),
            found=f"sha256 {found[:12]}…",
            mend="Reinstall forgetkit." if folder == MODELS else "Train the filter again.",
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            return card, {key: stored[key] for key in stored.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise InputError("is no archive of plain arrays", where=str(path)) from error


def save_weights(name: str, folder: Path, card: dict[str, Any], arrays: Arrays) -> None:
    """Write one model's arrays, then its card with their digest; byte-identical for equal arrays.

    Args:
        name: ``NAME.npz`` and ``NAME.json`` are written.
        folder: where.
        card: what is said of the model; `sha256` is added.
        arrays: plain arrays.
    """
    path = folder / f"{name}.npz"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for key in sorted(arrays):
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, np.asanyarray(arrays[key]), allow_pickle=False)
    write_json(folder / f"{name}.json", {**card, "sha256": sha256_file(path)})
