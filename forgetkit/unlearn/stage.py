"""The room's verb: train an adapter that suppresses the forget set, keep the best checkpoint."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__, schema
from forgetkit.files import (
    STATE,
    claim_folder,
    digest_of,
    read_json,
    sha256_file,
    sweep,
    write_json,
)
from forgetkit.forget_set import ForgetSet, read_forget_set
from forgetkit.lm.ranks import (
    asks_for_pieces,
    check_launcher,
    check_several,
    own_device,
    own_rank,
    wait_for_all,
    world_size,
)
from forgetkit.lm.train import Kept, TrainSettings
from forgetkit.progress import Progress, Silent, telling
from forgetkit.seeds import derive
from forgetkit.unlearn.assembly import (
    check_method,
    default_rate,
    forward_tokens,
    make_method,
    objective,
    reference_likelihoods,
    reference_states,
    reference_tops,
    trainable,
)
from forgetkit.unlearn.card import write_cards
from forgetkit.unlearn.clock import Clock
from forgetkit.unlearn.config import UnlearnConfig
from forgetkit.unlearn.delivery import commit_of, record, save
from forgetkit.unlearn.guards import check_best, check_known, check_last, merged_recites_more
from forgetkit.unlearn.presets import PRESETS
from forgetkit.unlearn.schedule import schedule, with_answers
from forgetkit.unlearn.trackers import check_trackers, tracked_below
from forgetkit.unlearn.watch import Validation, Watch

if TYPE_CHECKING:
    from forgetkit.unlearn.methods import Method


@dataclass(frozen=True)
class UnlearnResult:
    """What `unlearn` wrote.

    Attributes:
        adapter: folder in peft's format; full fine-tuning writes none.
        model: folder of the merged or fine-tuned model, or None.
        run: the content of `run.json`.
        seconds: wall time; 0 when the same run was already there.
    """

    adapter: Path
    model: Path | None
    run: Mapping[str, Any]
    seconds: float

    @property
    def run_file(self) -> Path:
        """Return `run.json`, beside the adapter."""
        return self.adapter.parent / "run.json"


def unlearn(
    model: str,
    forget_set: Path,
    out: Path,
    *,
    config: UnlearnConfig | None = None,
    progress: Progress | None = None,
) -> UnlearnResult:
    """Unlearn a forget set from a model with an adapter, and write `adapter/` and `run.json`.

    With `config.merge` the merged model is written too: an adapter alone leaves the knowledge in
    the base. The checkpoint kept is the one with the least max(ES, EM - control) on a validation
    slice whose utility stays above the floor; where the last weights are below it, their update is
    multiplied by what keeps it (`scale` of `run.json`). Started by a launcher as several processes,
    all train one adapter and the first writes it.

    Where `watch_every` is 0 the last weights are taken: a floor that was given still holds for
    them, the default one only warns (`warnings` of `run.json`), so that an ascent that breaks the
    model can be measured too. Of a preset's `mismatch_answers` as many are taken as the set has,
    with a warning.

    Raises:
        UsageError: the method or one of its settings is unknown or out of range, or the launcher
            asks for a model in pieces that this cannot cut up.
        InputError: the model or the set cannot be used, a loss is not finite, nothing moved, was
            known or was forgotten, or no checkpoint kept the utility.
    """
    progress, started = progress or Silent(), time.monotonic()
    asked = checked(forget_set, config or UnlearnConfig())
    if asked.config.shard:
        check_several()
    identity = identity_of(model, forget_set, asked.config)
    if own_rank():
        if (out / "run.json").is_file():  # the first process trains nothing, or refuses the folder
            return _result(out, read_json(out / "run.json"), 0.0)
        with tempfile.TemporaryDirectory(prefix="forgetkit-") as aside:
            kept = Kept(out / STATE, digest_of(identity), read_only=True)
            run = _train(model, asked, Silent(), Path(aside), kept)
        return _result(out, run, time.monotonic() - started)
    if claim_folder(out, "run.json", identity):
        return _result(out, read_json(out / "run.json"), 0.0)
    kept = Kept(out / STATE, digest_of(identity))
    run = _train(model, asked, progress, out, kept)
    seconds = time.monotonic() - started
    run["warnings"] = asked.warnings + run["warnings"]
    run = identity | run | {"schema": schema.RUN, "base": model, "seconds": round(seconds, 1)}
    write_cards(out, run)
    write_json(out / "run.json", run)
    sweep(out, [STATE])
    (out / STATE).unlink(missing_ok=True)
    return _result(out, run, seconds)


@dataclass(frozen=True)
class Asked:
    """What a run was asked to do, once everything about it was checked but the model.

    Attributes:
        method: what is trained.
        content: the forget set.
        config: the settings, with a preset's where the user gave none.
        warnings: what a person should know.
    """

    method: Method
    content: ForgetSet
    config: UnlearnConfig
    warnings: list[str]

    @property
    def steps(self) -> int:
        """Return the optimiser steps at most."""
        passes = -(-10 * len(self.content.splits["forget"]) // self.config.batch_size)
        return self.config.steps or max(20, passes)


def checked(forget_set: Path, config: UnlearnConfig) -> Asked:
    """Check all that needs no model; see `unlearn`."""
    check_launcher(pieces=True)
    if asks_for_pieces():
        config = config.model_copy(update={"shard": True})
    asked = "mismatch_answers" in config.model_fields_set
    config = config.with_defaults(PRESETS.get(config.method, {}))
    method = make_method(config.method, config.method_settings())
    check_method(method, config)
    check_trackers(config.report_to)
    content = read_forget_set(forget_set)
    config, warnings = with_answers(method, config, content, asked)
    return Asked(method, content, config, warnings)


def identity_of(model: str, forget_set: Path, config: UnlearnConfig) -> dict[str, Any]:
    """Return what makes two runs the same; where a run reports to is no part of it."""
    from forgetkit.lm.load import model_identity

    return {
        "model": model_identity(model),
        "forget_set_sha256": sha256_file(forget_set / "manifest.json"),
        "configuration": config.model_dump(mode="json", exclude={"report_to"}),
        "method": config.method,
        "version": __version__,
    }


def _result(out: Path, run: Mapping[str, Any], seconds: float) -> UnlearnResult:
    merged = out / "model"
    return UnlearnResult(out / "adapter", merged if merged.is_dir() else None, run, seconds)


def _train(model: str, asked: Asked, progress: Progress, out: Path, kept: Kept) -> dict[str, Any]:
    from forgetkit.lm.adapter import multiply_adapter
    from forgetkit.lm.load import dtype_name, load_model
    from forgetkit.lm.sharded import held_share, shard
    from forgetkit.lm.train import train

    clock, content, method, config = Clock(), asked.content, asked.method, asked.config
    exact = config.peft == "none" and config.dtype == "auto"
    validation = Validation.of(content)
    steps = asked.steps
    turns = steps * world_size()
    with clock.phase("load"):
        dtype, device = "float32" if exact else config.dtype, None
        if config.shard:  # no process shall hold all of it on a GPU
            dtype, device = dtype_name(dtype, own_device() or "cpu"), "cpu"
        base = load_model(model, dtype=dtype, device=device)
        size = int(base.model.num_parameters())  # of 4-bit weights, what they stand for
        language_model = trainable(base, method, config)
        if config.shard:
            shard(language_model)
        items = list(schedule(content, method, config, language_model, turns, validation))
    rate = config.learning_rate or default_rate(size, config.peft)
    progress.stage(f"unlearn ({config.method})", steps)
    progress.note("looks at the model before the first step")
    watch = Watch(language_model, validation, config, method.factor(), clock)
    first = None if config.watch_every else watch(0)
    if first:
        check_known(first.done, validation)
    with (
        tempfile.TemporaryDirectory(prefix="forgetkit-") as scratch,
        tracked_below(out),
        clock.phase("training"),
    ):
        outcome = train(
            language_model,
            items,
            objective(method, config),
            _training(method, config, rate, language_model.device.type),
            watch=watch,
            shrink=watch.shrink,
            advance=telling(progress),
            scratch=Path(scratch),
            kept=kept,
        )
    held = {"held_share": round(held_share(language_model.model), 4)} if config.shard else {}
    clock.move(outcome.reference_seconds, of="training", to="reference")
    if first:
        outcome.history.insert(0, {"step": 0, "losses": {}, **first.values})
        outcome.history[-1] |= watch(outcome.steps).values
    check_known(outcome.steps == 0 and bool(outcome.stopped), validation)
    check_best(outcome, config)
    warnings = check_last(outcome, config)
    multiply_adapter(language_model.model, method.factor())
    found = save(language_model, config, validation.forget, progress, out, clock)
    if config.shard:
        wait_for_all()  # the first process merges alone
    if "merge" in found:
        warnings += merged_recites_more(outcome, found["merge"])
    told = {"warnings": warnings, "phases": clock.rounded()} | commit_of(base) | held
    return record(outcome, rate, size, config) | found | told


def _training(method: Method, config: UnlearnConfig, rate: float, device: str) -> TrainSettings:
    return TrainSettings(
        report_to=tuple(config.report_to),
        learning_rate=rate,
        batch_size=config.batch_size,
        watch_every=config.watch_every,
        seed=derive(config.seed, "training") % 2**32,
        most_tokens=forward_tokens(config, device),
        reference_splits=reference_states(method, config),
        reference_likelihoods=reference_likelihoods(method, config),
        reference_tops=reference_tops(method, config),
        reference_top_k=config.reference_top_k,
    )
