"""Open bundled weights: an ``.npz`` of plain arrays and a card that holds its SHA-256."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.errors import InputError, TamperedError
from forgetkit.files import read_json, sha256_file

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
    path = folder / f"{name}.npz"
    found = sha256_file(path)
    if found != card.get("sha256"):
        raise TamperedError(
            "the bundled weights differ from their card",
            where=str(path),
            found=f"sha256 {found[:12]}…",
            mend="Reinstall forgetkit.",
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            return card, {key: stored[key] for key in stored.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise InputError("is no archive of plain arrays", where=str(path)) from error
