"""`train-filter`: a student out of labelled text, or out of what a stronger classifier says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from forgetkit import __version__
from forgetkit.classify.card import card_text
from forgetkit.classify.fit import Labelled, Recipe, train
from forgetkit.classify.labels import read_labels, reads_of
from forgetkit.classify.linear import FILTER
from forgetkit.classify.weights import save_weights
from forgetkit.config import Config
from forgetkit.corpus import corpus_files
from forgetkit.files import claim_folder, read_json, sha256_file, write_text
from forgetkit.progress import Progress, Silent

CARD = "README.md"


class FilterConfig(Config):
    """Settings of `train-filter`: what is learned, and how its threshold is set."""

    category: str = Field("harmful", description="Category of rows whose label names none.")
    held_out: float = Field(
        0.2, gt=0.0, lt=0.9, description="Share of rows, by a hash of their id, that only measure."
    )
    bits: int = Field(17, ge=10, le=22, description="2**bits weights a category, one byte each.")
    runs: tuple[int, ...] = Field(
        (), description="Lengths of character runs beside words, 2 to 7; halves the speed each."
    )
    false_positives: float = Field(
        0.05,
        gt=0.0,
        lt=1.0,
        description="Share of harmless rows that may score above the threshold.",
    )
    recall: float | None = Field(
        None, gt=0.0, lt=1.0, description="Recall that the threshold is set for instead."
    )
    embedder: str | None = Field(
        None,
        description="Also train a head over this embedding model (minilm, a folder, a hub id); "
        "`mine` uses it to judge what the student finds.",
    )
    teacher: str | None = Field(
        None,
        description="Classifier whose scores are the labels: bundled, detoxify:NAME, a folder or "
        "a hub id.",
    )
    teacher_categories: tuple[str, ...] = Field(
        (),
        description="Labels of the teacher that are learned; empty means all that mean harm.",
    )
    classifier_checkpoint: Path | None = Field(
        None, description="A detoxify checkpoint of the teacher on disk; null: the official one."
    )
    classifier_digest: str | None = Field(
        None,
        description="SHA-256 that this checkpoint must begin with, 8 to 64 digits; null takes the "
        "one in the official file name.",
    )
    columns: dict[str, str] | None = Field(
        None,
        description="Columns of the rows by role (id, text, prompt, answer); null looks for the "
        "usual names.",
    )
    teacher_threshold: float = Field(
        0.5, gt=0.0, lt=1.0, description="Score of the teacher from which a text is positive."
    )
    sample: int = Field(
        4000, ge=100, description="Texts the teacher reads, drawn evenly over the student's scores."
    )


@dataclass(frozen=True)
class FilterResult:
    """What `train-filter` made.

    Attributes:
        folder: holds `filter.npz`, `filter.json` and `README.md`.
        card: figures and settings, as in `filter.json`.
        warnings: sentences for the user.
        seconds: wall-clock time.
    """

    folder: Path
    card: dict[str, Any]
    warnings: list[str]
    seconds: float


def train_filter(
    labels: Sequence[Path],
    out: Path,
    *,
    config: FilterConfig | None = None,
    progress: Progress | None = None,
) -> FilterResult:
    """Train a linear student and measure it on rows it never saw.

    Args:
        labels: files of labelled rows (see `classify.labels`); with a teacher, any corpus.
        out: folder to write; the same run a second time reads its result from there.
        config: settings.
        progress: who watches.

    Raises:
        InputError: too few rows, a row without a label, or a teacher that cannot be opened.
        UsageError: `out` holds something else.
    """
    began = time.monotonic()
    config, progress = config or FilterConfig(), progress or Silent()
    inputs = {label: sha256_file(path) for label, path in corpus_files(labels)}
    identity = {
        "command": "train-filter",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": inputs,
    }
    if not claim_folder(out, f"{FILTER}.json", identity):
        _write(labels, out, config, identity, progress)
    card = read_json(out / f"{FILTER}.json")
    return FilterResult(out, card, _warnings(card), time.monotonic() - began)


def _write(
    labels: Sequence[Path],
    out: Path,
    config: FilterConfig,
    identity: dict[str, Any],
    progress: Progress,
) -> None:
    if config.teacher is not None:
        from forgetkit.classify.teach import taught

        examples = taught(labels, config, progress)
    else:
        examples = read_labels(labels, config.category, config.held_out, columns=config.columns)
    progress.stage("training", len(examples))
    recipe = Recipe(config.bits, config.runs, config.false_positives, config.recall)
    card, arrays, fitted = train(examples, recipe)
    if config.embedder is not None:
        from forgetkit.classify.head import add_head

        embed = _embed(config.embedder)
        add_head(card, arrays, examples, fitted, recipe, embed, config.embedder)
    progress.advance(len(examples))
    reads = reads_of(labels, config.columns)
    card |= identity | {"reads": dict.fromkeys(examples, reads), "teacher": config.teacher}
    write_text(out / CARD, card_text(card))
    save_weights(FILTER, out, card, arrays)


def _embed(name: str) -> Any:
    from forgetkit.embed import open_embedder

    embedder = open_embedder(name)

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return embedder.encode(texts)

    return embed


def _warnings(card: dict[str, Any]) -> list[str]:
    few = [name for name, held in card["held_out"].items() if held["harmful"] < 20]
    silent = [name for name, held in card["held_out"].items() if not held["precision"]["n"]]
    return [
        *(f"category '{name}' has fewer than 20 held-out positives" for name in few),
        *(f"no held-out row reaches the threshold of category '{name}'" for name in silent),
    ]


__all__ = ["FilterConfig", "FilterResult", "Labelled", "train_filter"]
