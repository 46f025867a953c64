"""The room's verb: from accepted spans, works and ordinary data to a forget set."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgetkit import __version__
from forgetkit.build import text
from forgetkit.build.card import card
from forgetkit.build.config import BuildConfig
from forgetkit.build.inputs import Inputs
from forgetkit.build.maker import Maker
from forgetkit.build.ready_folder import settled
from forgetkit.build.target import scored_examples
from forgetkit.corpus import read_works
from forgetkit.files import check_space, claim_folder, folder_state, read_json
from forgetkit.forget_set import ForgetSet, read_forget_set, write_forget_set
from forgetkit.plan import WORDS, Plan
from forgetkit.progress import Progress, Silent


@dataclass(frozen=True)
class BuildResult:
    """What `build` wrote.

    Attributes:
        folder: the forget set.
        counts: examples by split, and what was set aside by reason.
        seconds: wall time; 0 when the same set was already there.
        warnings: what a person should know.
    """

    folder: Path
    counts: Mapping[str, int]
    seconds: float
    warnings: Sequence[str] = field(default=())


def build(
    inputs: Inputs,
    out: Path,
    *,
    config: BuildConfig | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> BuildResult:
    """Build a forget set: forget, mismatch, retain, holdout, probes, data card and manifest.

    The same inputs and configuration give the same bytes, whatever the number of workers; a
    finished folder is left as it is.

    Raises:
        InputError: nothing to forget, an empty or small split, splits that overlap, a holdout
            that is unlike forget, forget examples too long for the model.
    """
    config, progress = config or BuildConfig(), progress or Silent()
    started = time.monotonic()
    inputs, unused = settled(inputs)
    identity = identity_of(inputs, config)
    if claim_folder(out, "manifest.json", identity):
        manifest = read_json(out / "manifest.json")
        return BuildResult(out, manifest["counts"], 0.0, tuple(manifest["warnings"]))
    maker = Maker(inputs, config, progress, workers)
    maker.books.warnings += unused
    forget_set = maker.make()
    books = maker.books
    counts = books.counts | _sizes(forget_set)
    manifest = identity | books.findings | {"counts": counts, "warnings": books.warnings}
    finished = ForgetSet(forget_set.splits, forget_set.probes, manifest)
    page = card(
        finished.splits,
        finished.probes,
        counts,
        findings=books.findings,
        warnings=books.warnings,
        show=config.show_examples,
    )
    write_forget_set(out, finished, page, private=config.show_examples)
    read_forget_set(out)  # what was written reads back
    seconds = time.monotonic() - started
    return BuildResult(out, counts, seconds, tuple(books.warnings))


def plan_build(inputs: Inputs, out: Path, *, config: BuildConfig | None = None) -> Plan:
    """Say what `build` would read, and how many candidates it begins with; write nothing.

    Splits that overlap, and what the target model knows, show in the run alone.

    Raises:
        UsageError, InputError, StorageError: as the run would, as far as that shows without the
            weights of a model.
    """
    from forgetkit.lm.load import load_outline

    config = config or BuildConfig()
    inputs, unused = settled(inputs)
    inputs.check_files()
    state = folder_state(out, "manifest.json", lambda: identity_of(inputs, config))
    for name in (inputs.model, inputs.reference):
        if name is not None:
            load_outline(name)
    maker = Maker(inputs, config, Silent())
    maker.books.warnings += unused
    counts: dict[str, int | float | str] = dict(maker.plan())
    check_space(out, 0)
    asks = {"candidates are ranked by": inputs.model} if config.rank_by_memorization else {}
    counts |= {name: model for name, model in asks.items() if model is not None}
    return Plan(WORDS[state], counts | {"mismatch": config.mismatch}, tuple(maker.books.warnings))


def identity_of(inputs: Inputs, config: BuildConfig) -> dict[str, Any]:
    """Return what makes two builds the same."""
    digests = inputs.digests()
    return {"inputs": digests, "configuration": config.model_dump(), "version": __version__}


def _sizes(forget_set: ForgetSet) -> dict[str, int]:
    sizes = {name: len(examples) for name, examples in forget_set.splits.items()}
    return sizes | {f"probes/{name}": len(rows) for name, rows in forget_set.probes.items()}


def recited(
    works: Sequence[Path], model: str, config: BuildConfig, progress: Progress
) -> tuple[int, int]:
    """Say how much of whole works a model recites: (windows with ES >= known_at, windows)."""
    from forgetkit.lm.load import load_model

    windows = text.windows_of_works(read_works(works), config)
    progress.stage("what the model recites", len(windows))
    scored = scored_examples(load_model(model), windows, progress)
    return sum((e.memorization or 0) >= config.known_at for e in scored), len(scored)
