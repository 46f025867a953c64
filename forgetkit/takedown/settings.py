"""The operator's settings of a takedown: one section a stage, and the ordinary data."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from forgetkit.build import BuildConfig
from forgetkit.config import Config, parse, read_yaml
from forgetkit.dedupe import DedupeConfig
from forgetkit.errors import InputError
from forgetkit.evaluate import EvaluateConfig, Rule, check_names
from forgetkit.mine import MineConfig
from forgetkit.redact import RedactConfig
from forgetkit.takedown.request import Request
from forgetkit.unlearn import UnlearnConfig


class Data(Config):
    """Ordinary data and the control, as paths relative to the settings file."""

    retain: list[Path] = Field(default_factory=list)
    holdout: list[Path] = Field(default_factory=list)
    general: list[Path] = Field(default_factory=list)
    refusals: Path | None = None


class Approval(Config):
    """The rule of `--auto-approve`: which spans are accepted without a person."""

    verbatim: float = Field(
        0.85, ge=0, le=1, description="Accept copies whose similarity is at least this."
    )
    semantic: float = Field(
        1.0, ge=0, le=1, description="Accept semantic spans whose cosine is at least this."
    )
    harm: float = Field(
        1.0, ge=0, le=1, description="Accept harm spans whose score is at least this."
    )


class Settings(Config):
    """All sections of a settings file."""

    data: Data = Field(default_factory=Data)
    approval: Approval = Field(default_factory=Approval)
    mine: MineConfig = Field(default_factory=MineConfig)
    dedupe: DedupeConfig = Field(default_factory=DedupeConfig)
    redact: RedactConfig = Field(default_factory=RedactConfig)
    build: BuildConfig = Field(default_factory=BuildConfig)
    unlearn: UnlearnConfig = Field(default_factory=lambda: UnlearnConfig(merge=True))
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)

    def with_seed(self, seed: int | None) -> Settings:
        """Return the settings with one seed for every stage; None changes nothing."""
        if seed is None:
            return self
        changed = {
            name: getattr(self, name).model_copy(update={"seed": seed})
            for name in ("build", "unlearn", "evaluate")
        }
        return self.model_copy(update=changed)

    def for_request(self, request: Request) -> Settings:
        """Return the settings with what a request asks: detectors, authors, thresholds.

        Raises:
            InputError: a threshold cannot be used.
        """
        authors = [w.identifiers["author"] for w in request.works if "author" in w.identifiers]
        about = tuple(dict.fromkeys((*self.build.about, *authors)))
        acceptance = self.evaluate.acceptance | check_acceptance(request)
        evaluate = self.evaluate.model_copy(update={"acceptance": acceptance})
        check_names(evaluate)
        build = self.build.model_copy(update={"about": about})
        mine = _mining(request, self.mine)
        return self.model_copy(update={"mine": mine, "build": build, "evaluate": evaluate})


def check_acceptance(request: Request) -> dict[str, Rule | None]:
    """Return the thresholds of a request.

    Raises:
        InputError: naming the key that is wrong.
    """
    values = {"acceptance": request.acceptance}
    return dict(parse(EvaluateConfig, values, where=f"request {request.id}").acceptance)


def _mining(request: Request, config: MineConfig) -> MineConfig:
    if "detectors" not in config.model_fields_set:
        works = any(work.files for work in request.works)
        names = (["verbatim", "semantic"] if works else []) + (["harm"] if request.harms else [])
        config = config.model_copy(update={"detectors": tuple(names)})
    if request.harms:
        harm = request.harms[0]
        given = {"classifier": harm.classifier}
        threshold = {"harm_threshold": harm.threshold} if harm.threshold else {}
        config = config.model_copy(update=given | threshold)
    return config


def load_settings(path: Path | None) -> Settings:
    """Read a settings file; its paths become absolute.

    Raises:
        InputError: an unknown key or a path that does not exist.
    """
    if path is None:
        return Settings()
    settings = parse(Settings, read_yaml(path), where=str(path))
    base = path.resolve().parent

    def place(value: Path) -> Path:
        full = value if value.is_absolute() else base / value
        if not full.exists():
            raise InputError("no such file or folder", where=f"{path}: data", found=str(value))
        return full

    data = settings.data
    placed = Data(
        retain=[place(p) for p in data.retain],
        holdout=[place(p) for p in data.holdout],
        general=[place(p) for p in data.general],
        refusals=place(data.refusals) if data.refusals else None,
    )
    return settings.model_copy(update={"data": placed})
