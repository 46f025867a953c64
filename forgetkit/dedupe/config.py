"""Settings of `dedupe`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forgetkit.config import Config


class DedupeConfig(Config):
    """Settings of `dedupe`: what is a copy, and which copy stays."""

    threshold: float = Field(
        0.8,
        gt=0.0,
        le=1.0,
        description="Least Jaccard similarity of word 5-grams of near duplicates, in (0, 1].",
    )
    near: bool = Field(True, description="Look for near duplicates too, not for exact ones only.")
    keep: Literal["first", "longest"] = Field(
        "first", description="The member of a cluster that stays or stands for it: first, longest."
    )
    overlap: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="Share of the shorter of two ranges of a work that must overlap for two spans "
        "to be copies of one passage, in (0, 1].",
    )
    max_source_loss: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Share of a file's documents whose loss as duplicates is worth a warning.",
    )
    seed: int = Field(0, ge=0, description="Seed of the MinHash permutations.")
    columns: dict[str, str] | None = Field(
        None, description="Columns of the corpus by role (id, text, prompt, answer)."
    )
    max_bad_rows: int | None = Field(
        None,
        ge=0,
        description="Bad rows that are allowed; null means the larger of 10 and 0.1 % of all.",
    )
