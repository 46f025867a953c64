"""What a takedown would do: a plan that writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgetkit import __version__
from forgetkit.config import Config
from forgetkit.files import digest_of, sha256_file, sha256_tree
from forgetkit.lm.load import resolve_model
from forgetkit.lm.speed import training_seconds
from forgetkit.mine import preview
from forgetkit.takedown.case import read_case
from forgetkit.takedown.request import Request, load_request
from forgetkit.takedown.settings import Settings, load_settings

SUBWORDS = 1.4
"""Tokens of a word of English text, about."""
LEAST_STEPS = 20
"""Of a training that is not told how many: ten passes over a forget set that is not there yet."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage, and what the command would do with it.

    Attributes:
        name: of the stage and of its folder.
        what: `is done`, `runs`, `runs again`, or `may run again` because one before it does.
        why: what changed; empty if nothing did.
        seconds: what it took when it last ran, or is expected to take; None where nobody knows.
    """

    name: str
    what: str
    why: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class TakedownPlan:
    """What a takedown would do.

    Attributes:
        case: the case folder.
        stages: in their order.
        counts: of what is read and trained on; tokens, seconds and megabytes are estimates.
    """

    case: Path
    stages: list[PlannedStage] = field(default_factory=list)
    counts: dict[str, int | float | str] = field(default_factory=dict)


def plan_takedown(
    request: Path, case: Path, *, settings: Path | None = None, seed: int | None = None
) -> TakedownPlan:
    """Say what `takedown` would do with a request; nothing is written.

    Args:
        request: `request.yaml`.
        case: the case folder, which may not exist yet.
        settings: the operator's settings; by default those that the request names.
        seed: one seed for every stage.

    Raises:
        InputError: the request, a file, the case or the target model cannot be used.
    """
    asked = load_request(request)
    chosen = load_settings(settings or asked.settings).with_seed(seed).for_request(asked)
    _, folder = resolve_model(asked.targets.model)
    known = read_case(case)["stages"] if (case / "case.json").is_file() else {}
    counts: dict[str, int | float | str] = dict(preview(asked.targets.corpora, chosen.mine))
    works = [file.read_text("utf-8", "replace") for work in asked.works for file in work.files]
    counts |= {"works": len(works), "words of works": sum(len(text.split()) for text in works)}
    expected: dict[str, float] = {}
    if asked.remedy != "redact_corpus":
        tokens = _training_tokens(chosen)
        counts["tokens of training, about"] = tokens
        weights = sum(p.stat().st_size for p in folder.glob("*.safetensors")) if folder else 0
        if weights:
            copies = 1.2 if chosen.unlearn.merge else 0.2  # adapter and state are small beside it
            counts["MB on disk, about"] = round(copies * weights / 1e6)
            # most checkpoints have 2 bytes a parameter
            expected["unlearned"] = training_seconds(tokens, weights / 2)
    return TakedownPlan(case, _planned(asked, chosen, known, expected), counts)


def mining_inputs(request: Request, config: Config) -> dict[str, Any]:
    """Return what finding depends on: digests of what is read, and the settings."""
    targets = request.targets
    return {
        "corpora": [sha256_tree(path) for path in targets.corpora],
        "works": [sha256_tree(file) for work in request.works for file in work.files],
        "records": sha256_file(targets.record_ids) if targets.record_ids else "",
        "settings": config.model_dump(mode="json"),
    }


def _configs(request: Request, settings: Settings) -> dict[str, Config | None]:
    """Return the stages that the remedy takes, in their order, with their settings."""
    found: dict[str, Config | None] = {"mined": settings.mine, "deduped": settings.dedupe}
    if request.remedy != "unlearn":
        found["redacted"] = settings.redact
    if request.remedy != "redact_corpus":
        found["forget_set"], found["unlearned"] = settings.build, settings.unlearn
        found["evaluation"], found["report"] = settings.evaluate, None
    return found


def _planned(
    request: Request,
    settings: Settings,
    known: Mapping[str, Any],
    expected: Mapping[str, float],
) -> list[PlannedStage]:
    stages: list[PlannedStage] = []
    before = ""  # a stage that will give something new
    for name, config in _configs(request, settings).items():
        entry = known.get(name, {})
        took = entry.get("seconds") if "counts" in entry else expected.get(name)
        if "counts" not in entry:
            stages.append(PlannedStage(name, "runs", seconds=took))
            before = name
            continue
        changed = _changed(request, name, config, entry["inputs"])
        if changed:
            stages.append(PlannedStage(name, "runs again", f"{', '.join(changed)} changed", took))
            before = name
        elif before:
            stages.append(PlannedStage(name, "may run again", f"{before} comes before it", took))
        else:
            stages.append(PlannedStage(name, "is done", seconds=0.0))
    return stages


def _changed(
    request: Request, name: str, config: Config | None, inputs: Mapping[str, str]
) -> list[str]:
    """Return which of the inputs that are there before the run are not what they were."""
    now: dict[str, Any] = {"version": __version__}
    if name == "mined" and config is not None:
        now |= mining_inputs(request, config)
    elif config is not None:
        now |= {"settings": config.model_dump(mode="json")}
    return [key for key, value in now.items() if inputs.get(key) != digest_of(value)]


def _training_tokens(settings: Settings) -> int:
    """Return about how many tokens a training reads with gradient; the least where steps vary."""
    build, unlearn = settings.build, settings.unlearn
    steps = unlearn.steps or LEAST_STEPS
    rows = unlearn.batch_size * (1 + unlearn.retain_share)
    return round(steps * rows * SUBWORDS * (build.prompt_words + build.answer_words))
