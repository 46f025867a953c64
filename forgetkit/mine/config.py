"""Settings of `mine`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from forgetkit.config import Config


def _names(value: Any) -> Any:
    """Accept `a,b` for `["a", "b"]`, and take a name that stands twice once."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(dict.fromkeys(value))
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class MineConfig(Config):
    """Settings of `mine`: which detectors look, and what counts as found."""

    detectors: Names = Field(
        ("verbatim", "semantic"),
        description="Detectors by name: verbatim, semantic, harm, pattern.",
        min_length=1,
    )
    min_chars: int = Field(
        100, ge=20, description="Least length of a copied span, in code points of the document."
    )
    min_words: int = Field(
        50, ge=5, description="Least length of a copied span, in words; either length is enough."
    )
    min_identity: float = Field(
        0.8,
        ge=0.5,
        le=1.0,
        description="Least share of letters and digits that a copied span has in common with the "
        "work, in [0.5, 1]; half way from there to 1 for spans under three times the least "
        "length without sixty letters in a row unchanged. A poor scan keeps .90. Lower finds "
        "heavier edits (synonyms, reworded sentences), and other translations too.",
    )
    seed_symbols: int = Field(
        24,
        ge=8,
        le=64,
        description="Letters and digits that a copy must share without an edit somewhere (counted "
        "in bytes of UTF-8). Fewer find heavier edits and cost time. An index has its own.",
    )
    seed_density: Literal[1, 2, 4, 8, 16] = Field(
        8,
        description="One in so many such stretches is looked up: 4 finds more, 16 is faster. An "
        "index has its own.",
    )
    max_works: int | None = Field(
        None,
        ge=1,
        description="Works that may share a stretch for it to count as a copy; null for any "
        "number. A proverb or a licence stands in many.",
    )
    ignore: Names = Field(
        (),
        description="Indexes (see `forgetkit index`) of texts that anyone may quote: scripture, "
        "licences, boilerplate. A copy that lies in them for the most part does not count.",
    )
    embedder: str = Field(
        "minilm", description="Embedding model: minilm, a folder, or a hub id (org/model)."
    )
    semantic_threshold: float = Field(
        0.72,
        gt=0.0,
        le=1.0,
        description="Least cosine of a window with a window of a work or with a seed, in (0, 1]. "
        "With MiniLM, four fifths of the verses of another translation come above .72.",
    )
    semantic_margin: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="Least distance of that cosine from the mean of the next four windows of the "
        "work, in [0, 1]. A sequel is about as near to many windows of a work, a passage told "
        "again stands out from them.",
    )
    semantic_window: int = Field(
        400, ge=50, le=2000, description="Length of a window of whole sentences, in code points."
    )
    max_windows: int = Field(
        10_000,
        ge=1,
        description="Windows of the corpus that are embedded, those that fit the prefilter among "
        "them; how many were left out is reported.",
    )
    semantic_prefilter: bool = Field(
        True,
        description="Fit static vectors to the embedding model on a sample of a large corpus, and "
        "read first what they bring near to what is looked for; `recall` sets their floor.",
    )
    classifier: str = Field(
        "bundled",
        description="Harm classifier: bundled, a folder of train-filter, detoxify:original, "
        "detoxify:unbiased, detoxify:multilingual, a folder, or a hub id.",
    )
    classifier_checkpoint: Path | None = Field(
        None, description="A detoxify checkpoint on disk; null takes the official one."
    )
    classifier_digest: str | None = Field(
        None,
        description="SHA-256 that the detoxify checkpoint must begin with, 8 to 64 digits; null "
        "takes the one in the official file name.",
    )
    calibrate: Path | None = Field(
        None,
        description="Labelled documents (`label` 1 or 0) that set the thresholds of harm and "
        "semantic.",
    )
    recall: float = Field(
        0.95,
        gt=0.0,
        le=1.0,
        description="Recall that a calibrated threshold, and the prefilter of semantic, keeps, in "
        "(0, 1].",
    )
    patterns: Path | None = Field(
        None, description="Patterns file of the pattern detector: YAML, JSON lines, or text."
    )
    harm_spans: Literal["windows", "words"] = Field(
        "windows",
        description="What a harmful text is marked by: windows of whole sentences, or the words "
        "that made the student find them.",
    )
    harm_student: str = Field(
        "bundled",
        description="Linear filter that scans everything for a slower classifier: bundled, or a "
        "folder of train-filter.",
    )
    harm_head: bool = Field(
        True,
        description="Let the filter's own embedding head judge what the filter finds, where it "
        "has one and the embedding model is installed.",
    )
    harm_budget: int = Field(
        10_000, ge=1, description="Windows, prompts and answers that the slow classifier reads."
    )
    harm_sample: int = Field(
        500,
        ge=0,
        description="Further ones that it reads, drawn at random from all the rest, to say how "
        "much was missed.",
    )
    harm_categories: Names = Field(
        (), description="Categories of the classifier that count; empty means all."
    )
    harm_threshold: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Least score that counts as harmful, in [0, 1]; null takes the classifier's "
        "own threshold for each category, or .5 where it states none.",
    )
    harm_window: int = Field(
        400, ge=50, le=4000, description="Length of a scored window of sentences, in code points."
    )
    columns: dict[str, str] | None = Field(
        None,
        description="Columns of the corpus by role (id, text, prompt, answer); null looks for "
        "the usual names.",
    )
    max_bad_rows: int | None = Field(
        None,
        ge=0,
        description="Bad rows that are allowed; null means the larger of 10 and 0.1 % of all.",
    )
    agree: int = Field(
        1,
        ge=1,
        description="Detectors that must find a place (half of the shorter span in common) for "
        "its spans to count; 1 takes what any finds.",
    )
    thresholds: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        default_factory=dict,
        description="Least score of a span by detector, in [0, 1], beside the detector's own.",
    )

    quotes: Literal["keep", "drop"] = Field(
        "keep",
        description="Copies that stand in quotation marks or are attributed: keep, or drop.",
    )
    edits: Annotated[
        tuple[Literal["verbatim", "normalised", "edited"], ...], BeforeValidator(_names)
    ] = Field(
        ("verbatim", "normalised", "edited"),
        description="Copies that count, by how they were edited; other detectors are not asked.",
        min_length=1,
    )
    task_mb: float = Field(
        32.0,
        gt=0.0,
        description="Megabytes of the corpus that a worker takes at once and that a run, killed "
        "and begun again, does anew.",
    )

    def with_whole_paths(self) -> MineConfig:
        """Return the same settings for a process in another folder: each path from the root."""
        names = ("patterns", "calibrate", "classifier_checkpoint")
        models = ("embedder", "classifier", "harm_student")
        given = {name: getattr(self, name) for name in (*names, *models)}
        whole: dict[str, Any] = {
            name: Path(value).absolute()
            for name, value in given.items()
            if value is not None and (name in names or Path(value).is_dir())
        }
        whole |= {name: str(whole[name]) for name in models if name in whole}
        whole["ignore"] = tuple(str(Path(name).absolute()) for name in self.ignore)
        return self.model_copy(update=whole)

    def of_looking(self) -> dict[str, Any]:
        """Return the settings that what a task gives depends on."""
        return self.model_dump(
            mode="json",
            exclude={"agree", "thresholds", "quotes", "edits", "max_bad_rows", "task_mb"},
        )
