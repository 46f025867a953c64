"""The room's verb: train an adapter that suppresses the forget set, keep the best checkpoint."""

from __future__ import annotations

import dataclasses
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__, schema
from forgetkit.errors import InputError, UsageError, nearest
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
from forgetkit.progress import Progress, Silent
from forgetkit.registry import lookup
from forgetkit.seeds import derive
from forgetkit.unlearn.config import UnlearnConfig
from forgetkit.unlearn.dual import UtilityKept
from forgetkit.unlearn.presets import PRESETS
from forgetkit.unlearn.schedule import check_answers, schedule
from forgetkit.unlearn.watch import Validation, Watch

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.step import Step
    from forgetkit.lm.train import Outcome
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
    slice whose utility stays above the floor.

    Raises:
        UsageError: the method or one of its settings is unknown.
        InputError: the model or the set cannot be used, a loss is not finite, nothing moved, or no
            checkpoint kept the utility.
    """
    config, progress = config or UnlearnConfig(), progress or Silent()
    config = config.with_defaults(PRESETS.get(config.method, {}))
    started = time.monotonic()
    method = make_method(config.method, config.method_settings())
    check_method(method, config)
    content = read_forget_set(forget_set)
    check_answers(method, config, content)
    identity = _identity(model, forget_set, config)
    if claim_folder(out, "run.json", identity):
        return _result(out, read_json(out / "run.json"), 0.0)
    run = _train(model, content, method, config, progress, out, identity)
    seconds = time.monotonic() - started
    run = identity | run | {"schema": schema.RUN, "base": model, "seconds": round(seconds, 1)}
    write_json(out / "run.json", run)
    sweep(out, [STATE])
    (out / STATE).unlink(missing_ok=True)
    return _result(out, run, seconds)


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """Return a method by name with its settings.

    Raises:
        UsageError: the name, or the name of a setting, is unknown.
    """
    entry = lookup("methods", name)
    kind = entry.load()
    known = [field.name for field in dataclasses.fields(kind)]
    for key in settings:
        if key not in known:
            raise UsageError(f"the method {name} has no setting '{key}'", mend=nearest(key, known))
    method: Method = kind(**settings)
    return method


def check_method(method: Method, config: UnlearnConfig) -> None:
    """Check that the method can work as asked.

    Raises:
        UsageError: an update is to be subtracted that is no product.
    """
    if method.factor() != 1 and config.peft not in ("lora", "rslora"):
        raise UsageError(
            f"the method {config.method} subtracts the update of a LoRA adapter",
            found=f"--peft {config.peft}",
            mend="Use --peft lora or rslora.",
        )


def default_rate(parameters: int) -> float:
    """Return the learning rate for a LoRA adapter on a model of this size.

    >>> default_rate(135_000_000), default_rate(7_000_000_000)
    (0.001, 0.0001)
    """
    for size, rate in ((3e8, 1e-3), (2e9, 2e-4), (1.4e10, 1e-4)):
        if parameters < size:
            return rate
    return 5e-5


def _identity(model: str, forget_set: Path, config: UnlearnConfig) -> dict[str, Any]:
    from forgetkit.lm.load import model_digest, resolve_model

    _, folder = resolve_model(model)
    return {
        "model": model_digest(folder) if folder else model,  # a moved folder is the same model
        "forget_set_sha256": sha256_file(forget_set / "manifest.json"),
        "configuration": config.model_dump(mode="json"),
        "method": config.method,
        "version": __version__,
    }


def _result(out: Path, run: Mapping[str, Any], seconds: float) -> UnlearnResult:
    merged = out / "model"
    return UnlearnResult(out / "adapter", merged if merged.is_dir() else None, run, seconds)


def _train(
    model: str,
    content: ForgetSet,
    method: Method,
    config: UnlearnConfig,
    progress: Progress,
    out: Path,
    identity: Mapping[str, Any],
) -> dict[str, Any]:
    from forgetkit.lm.adapter import multiply_adapter
    from forgetkit.lm.load import load_model
    from forgetkit.lm.train import Kept, TrainSettings, train

    exact = config.peft == "none" and config.dtype == "auto"
    base = load_model(model, dtype="float32" if exact else config.dtype)
    size = sum(p.numel() for p in base.model.parameters())
    language_model = trainable(base, method, config)
    validation = Validation.of(content)
    steps = config.steps or max(20, -(-10 * len(content.splits["forget"]) // config.batch_size))
    items = list(schedule(content, method, config, language_model, steps, validation))
    rate = config.learning_rate or default_rate(size)
    progress.stage(f"unlearn ({config.method})", steps)
    watch = Watch(language_model, validation, config, method.factor())
    with tempfile.TemporaryDirectory(prefix="forgetkit-") as scratch:
        outcome = train(
            language_model,
            items,
            objective(method, config),
            TrainSettings(
                learning_rate=rate,
                batch_size=config.batch_size,
                watch_every=config.watch_every,
                seed=derive(config.seed, "training") % 2**32,
            ),
            watch=watch,
            advance=_advance(progress),
            scratch=Path(scratch),
            kept=Kept(out / STATE, digest_of(identity)),
        )
    _check_kept(outcome, config)
    multiply_adapter(language_model.model, method.factor())
    _save(language_model, config, progress, out)
    return _record(outcome, rate, size, config)


def objective(method: Method, config: UnlearnConfig) -> Callable[[Step], dict[str, torch.Tensor]]:
    """Return what is minimised: the method, with a dual retain weight if that was asked for."""
    own = "retain" not in method.reads or config.method == "pdu"
    if config.retain_weight == "fixed" or own or not config.utility_floor:
        return method
    return UtilityKept(method, config.utility_floor)


def trainable(base: LanguageModel, method: Method, config: UnlearnConfig) -> LanguageModel:
    """Return the model with the adapter asked for, or with its own weights to be trained."""
    from forgetkit.lm.adapter import AdapterSettings, add_adapter
    from forgetkit.lm.layers import depth
    from forgetkit.lm.trained import train_whole

    size = depth(base.model)
    chosen = config.layers or tuple(method.layers(size))
    outside = [number for number in chosen if not 0 <= number < size]
    if outside:
        raise UsageError(f"the model has no layer {outside[0]}", mend=f"It has 0 to {size - 1}.")
    layers = () if len(chosen) == size else chosen
    if config.peft == "none":
        read = method.needs_reference() or config.retain_weight == "dual"
        return train_whole(base, layers=layers, with_reference=read)
    settings = AdapterSettings(
        config.peft, config.rank, config.alpha, config.dropout, config.targets, layers
    )
    return add_adapter(base, settings, seed=derive(config.seed, "adapter") % 2**32)


def _save(
    language_model: LanguageModel, config: UnlearnConfig, progress: Progress, out: Path
) -> None:
    """Write the adapter, and the merged model if asked for; or the model that was trained."""
    from forgetkit.lm.adapter import merge_adapter, save_adapter
    from forgetkit.lm.load import save_model

    if config.peft == "none":
        save_model(language_model, out / "model")
        return
    shutil.rmtree(out / "adapter", ignore_errors=True)
    save_adapter(language_model.model, out / "adapter")
    if config.merge:
        progress.stage("merge", None)
        save_model(merge_adapter(language_model), out / "model")


def _advance(progress: Progress) -> Any:
    def step(line: str) -> None:
        progress.advance()
        progress.note(line)

    return step


def _check_kept(outcome: Outcome, config: UnlearnConfig) -> None:
    if outcome.steps == 0 and outcome.stopped:
        raise InputError(
            "there is nothing to unlearn: the model does no better on forget than on holdout",
            mend="Check that --model is the model that recites the text.",
        )
    if outcome.best_step == 0 and config.watch_every:
        raise InputError(
            "no checkpoint forgot anything while keeping utility at "
            f"{config.utility_floor} of before",
            mend="Lower --learning-rate, raise retain_nll or retain_kl, or lower --utility-floor.",
        )


def training_flops(outcome: Outcome, size: int, *, whole: bool) -> float:
    """Estimate the floating-point operations of a training: 2 a parameter and token forward.

    Backward takes as many again, and twice as many where the weights themselves are trained. The
    products of attention are not counted.

    Args:
        outcome: tokens read.
        size: parameters of the model.
        whole: the weights themselves were trained.
    """
    return 2.0 * size * ((3 if whole else 2) * outcome.tokens + outcome.reference_tokens)


def _record(outcome: Outcome, rate: float, size: int, config: UnlearnConfig) -> dict[str, Any]:
    import importlib.metadata as metadata

    names = ("torch", "transformers", "peft", "accelerate")
    return {
        "history": outcome.history,
        "best_step": outcome.best_step,
        "steps": outcome.steps,
        "stopped": outcome.stopped,
        "learning_rate": rate,
        "parameters": size,
        "training_seconds": round(outcome.seconds, 1),
        "tokens": outcome.tokens,
        "reference_tokens": outcome.reference_tokens,
        "tokens_per_second": round(outcome.tokens / max(outcome.seconds, 1e-9), 1),
        "flops": training_flops(outcome, size, whole=config.peft == "none"),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "versions": {name: metadata.version(name) for name in names},
    }
