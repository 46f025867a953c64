"""Settings of `dedupe`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from forgetkit.config import Config

Level = Literal["document", "paragraph", "line"]
Keep = Literal["first", "longest", "newest", "best"]


class DedupeConfig(Config):
    """Settings of `dedupe`: what is a copy, and which copy stays."""

    level: Level = Field(
        "document",
        description="What is compared: whole documents, or their paragraphs or lines (these "
        "exactly; a repeated one is cut out of its document).",
    )
    compare: Literal["folded", "raw"] = Field(
        "folded", description="Exact copies agree in their letters and digits, or in every byte."
    )
    threshold: float = Field(
        0.8,
        gt=0.0,
        le=1.0,
        description="Least Jaccard similarity of word 5-grams of near duplicates, in (0, 1].",
    )
    near: bool = Field(True, description="Look for near duplicates too, not for exact ones only.")
    verify_representative: bool = Field(
        False,
        description="Drop a document only when it is a copy of the one that stays itself, not "
        "through a chain of copies.",
    )
    keep: Keep = Field(
        "first",
        description="The member of a cluster that stays or stands for it: first, longest, newest "
        "or best (the greatest value of keep_column).",
    )
    keep_column: str | None = Field(
        None, description="Column that says which is newest or best; numbers, or dates as text."
    )
    prefer: tuple[str, ...] = Field(
        (),
        description="Files whose documents stay before others', as patterns; the first is the "
        "most preferred.",
    )
    against_only: bool = Field(
        False, description="Drop only what the other corpus holds; our own copies stay."
    )
    annotate: bool = Field(
        False, description="Write labels.parquet for every document and no deduplicated corpus."
    )
    least_characters: int = Field(
        20,
        ge=1,
        description="Letters and digits that a line or paragraph needs to be compared.",
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
    semantic: Literal["off", "label", "drop"] = Field(
        "off",
        description="Compare the meaning of what is left: off, label (change nothing), drop.",
    )
    semantic_threshold: float = Field(
        0.95, gt=0.0, le=1.0, description="Least cosine of semantic duplicates, in (0, 1]."
    )
    semantic_budget: int = Field(
        100_000, ge=1, description="Documents that are embedded at most, in order of the corpus."
    )
    embedder: str = Field("minilm", description="Embedding model: minilm, a folder or a hub id.")
    seed: int = Field(0, ge=0, description="Seed of the MinHash permutations.")
    columns: dict[str, str] | None = Field(
        None, description="Columns of the corpus by role (id, text, prompt, answer)."
    )
    max_bad_rows: int | None = Field(
        None,
        ge=0,
        description="Bad rows that are allowed; null means the larger of 10 and 0.1 % of all.",
    )
    task_mb: float = Field(
        32.0,
        gt=0.0,
        description="Megabytes of the corpus that a worker takes at once and that a run, killed "
        "and begun again, does anew.",
    )

    def of_looking(self) -> dict[str, Any]:
        """Return the settings that what a task gives depends on."""
        names = {"level", "compare", "threshold", "near", "least_characters", "seed", "columns"}
        return self.model_dump(mode="json", include=names)

    @model_validator(mode="after")
    def _column_where_needed(self) -> DedupeConfig:
        if (self.keep in ("newest", "best")) != (self.keep_column is not None):
            raise ValueError("keep newest or best needs keep_column, and no other keep has one")
        return self
