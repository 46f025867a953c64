"""The room's verb: train an adapter that suppresses the forget set, keep the best checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__, schema
from forgetkit.errors import InputError, UsageError, nearest
from forgetkit.files import claim_folder, read_json, sha256_file, write_json
from forgetkit.forget_set import Example, ForgetSet, read_forget_set
from forgetkit.progress import Progress, Silent
from forgetkit.registry import lookup
from forgetkit.seeds import derive, generator
from forgetkit.unlearn.config import UnlearnConfig

if TYPE_CHECKING:
    from forgetkit.lm.encode import Encoded
    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.train import Item, Outcome
    from forgetkit.unlearn.methods import Method

VALIDATION_ROWS = 24


@dataclass(frozen=True)
class UnlearnResult:
    """What `unlearn` wrote.

    Attributes:
        adapter: folder in peft's format.
        model: folder of the merged model, or None.
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
    started = time.monotonic()
    method = make_method(config.method, config.method_settings())
    content = read_forget_set(forget_set)
    identity = _identity(model, forget_set, config)
    if claim_folder(out, "run.json", identity):
        return _result(out, read_json(out / "run.json"), 0.0)
    run = _train(model, content, method, config, progress, out)
    seconds = time.monotonic() - started
    run = identity | run | {"schema": schema.RUN, "base": model, "seconds": round(seconds, 1)}
    write_json(out / "run.json", run)
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
        "configuration": config.model_dump(),
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
) -> dict[str, Any]:
    from forgetkit.lm.adapter import add_lora, merge_adapter, save_adapter
    from forgetkit.lm.load import load_model, save_model
    from forgetkit.lm.train import TrainSettings, train

    base = load_model(model, dtype=config.dtype)
    size = sum(p.numel() for p in base.model.parameters())
    language_model = add_lora(
        base,
        rank=config.rank,
        alpha=config.alpha,
        dropout=config.dropout,
        seed=derive(config.seed, "adapter") % 2**32,
    )
    validation = Validation.of(content)
    steps = config.steps or max(20, -(-10 * len(content.splits["forget"]) // config.batch_size))
    items = list(schedule(content, method.reads, config, language_model, steps, validation))
    rate = config.learning_rate or default_rate(size)
    progress.stage(f"unlearn ({config.method})", steps)
    watch = Watch(language_model, validation, config)
    with tempfile.TemporaryDirectory(prefix="forgetkit-") as scratch:
        outcome = train(
            language_model,
            items,
            method,
            TrainSettings(
                learning_rate=rate,
                batch_size=config.batch_size,
                watch_every=config.watch_every,
                seed=derive(config.seed, "training") % 2**32,
            ),
            watch=watch,
            advance=_advance(progress),
            scratch=Path(scratch),
        )
    _check_kept(outcome, config)
    shutil.rmtree(out / "adapter", ignore_errors=True)
    save_adapter(language_model.model, out / "adapter")
    if config.merge:
        progress.stage("merge", None)
        save_model(merge_adapter(language_model), out / "model")
    return _record(outcome, rate, size)


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


def _record(outcome: Outcome, rate: float, size: int) -> dict[str, Any]:
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
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "versions": {name: metadata.version(name) for name in names},
    }


def schedule(
    content: ForgetSet,
    reads: Sequence[str],
    config: UnlearnConfig,
    language_model: LanguageModel,
    steps: int,
    validation: Validation,
) -> Iterator[Item]:
    """Yield the training items of all steps: a forget example, its mismatch, its share of retain.

    Every pass visits forget in a new order drawn by seed. The rows of the validation slice are not
    among the retain rows.
    """
    from forgetkit.lm.encode import encode

    def ids(example: Example) -> Encoded:
        whole = example.kind != "text"
        return encode(
            language_model.tokenizer, example, max_tokens=config.max_tokens, with_end=whole
        )

    forget = content.splits["forget"]
    apart = {e.example_id for e in validation.retain}
    rows = [e for e in content.splits["retain"] if e.example_id not in apart]
    if "retain" in reads and config.retain_share and not rows:
        raise InputError(
            "the split retain has too few rows to train on",
            found=f"{len(content.splits['retain'])} rows, {len(apart)} kept for validation",
            mend="Build the set with more --retain data.",
        )
    retain = _endless(rows, config)
    grouped = _by_pair(content.splits["mismatch"])
    order = _endless(forget, config)
    owed = 0.0
    for _ in range(steps * config.batch_size):
        example = next(order)
        item: dict[str, list[Encoded]] = {"forget": [ids(example)]}
        if "mismatch" in reads:
            item["mismatch"] = [ids(next(grouped[example.example_id]))]
        owed += config.retain_share if "retain" in reads else 0.0
        if owed >= 1:
            item["retain"] = [ids(next(retain)) for _ in range(int(owed))]
            owed -= int(owed)
        yield item


def _by_pair(mismatch: Sequence[Example]) -> dict[str, Iterator[Example]]:
    groups: dict[str, list[Example]] = {}
    for example in mismatch:
        groups.setdefault(example.pair_of, []).append(example)
    return {name: itertools.cycle(examples) for name, examples in groups.items()}


def _endless(examples: Sequence[Example], config: UnlearnConfig) -> Iterator[Example]:
    """Yield examples for ever, each pass in an order of its own."""
    for turn in itertools.count():
        order = generator(config.seed, f"order {len(examples)} {turn}").permutation(len(examples))
        yield from (examples[int(i)] for i in order)


@dataclass(frozen=True)
class Validation:
    """The rows that checkpoints are chosen by; retain rows here are never trained on.

    At most a quarter of retain is set apart, so that a small set keeps rows to train on.

    Attributes:
        forget: some forget examples.
        holdout: as many of the control.
        retain: ordinary rows.
    """

    forget: Sequence[Example]
    holdout: Sequence[Example]
    retain: Sequence[Example]

    def controls(self) -> Sequence[Example]:
        """Return the rows that forget is compared with: none for pairs.

        The holdout of pairs is what the model itself says to other prompts, so it knows that too.
        """
        return self.holdout if self.forget[0].kind == "text" else ()

    @classmethod
    def of(cls, content: ForgetSet) -> Validation:
        """Take every so-many-th row of each split."""
        retain = content.splits["retain"]
        return cls(
            _every(content.splits["forget"], VALIDATION_ROWS),
            _every(content.splits["holdout"], VALIDATION_ROWS // 2),
            _every(retain, min(VALIDATION_ROWS, -(-len(retain) // 4))),
        )


def _every(examples: Sequence[Example], size: int) -> list[Example]:
    if len(examples) <= size:
        return list(examples)
    return [examples[i * len(examples) // size] for i in range(size)]


class Watch:
    """Look at the validation slice: forgetting, its control, and utility."""

    def __init__(
        self, language_model: LanguageModel, validation: Validation, config: UnlearnConfig
    ) -> None:
        self._model, self._slice, self._config = language_model, validation, config
        self._before = 0.0

    def __call__(self, step: int) -> Any:
        """Return what the slice says after a step."""
        import math

        from forgetkit.lm.train import Look

        es, em, _ = self._measure(self._slice.forget)
        control_es, control_em, _ = self._measure(self._slice.controls())
        _, _, nll = self._measure(self._slice.retain)
        if step == 0:
            self._before = nll
        utility = math.exp(self._before - nll)
        kept = utility >= self._config.utility_floor
        distance = max(es, em - control_em)
        at_control = es <= control_es + 0.02 and em <= control_em + 0.02
        done = kept and at_control and bool(self._slice.controls())
        values = {
            "extraction_strength": es,
            "exact_memorization": em,
            "control": control_em,
            "utility": utility,
        }
        reason = f"step {step}: forget is at its control" if done else ""
        rounded = {name: round(value, 4) for name, value in values.items()}
        return Look(rounded, distance if kept else math.inf, done, reason)

    def _measure(self, examples: Sequence[Example]) -> tuple[float, float, float]:
        from forgetkit.lm.score import exact_memorization, extraction_strength, score

        scores = [s for s in score(self._model, examples) if s.argmax_hit]
        if not scores:
            return 0.0, 0.0, 0.0
        es = sum(extraction_strength(s.argmax_hit) or 0.0 for s in scores) / len(scores)
        em = sum(exact_memorization(s.argmax_hit) or 0.0 for s in scores) / len(scores)
        return es, em, sum(s.nll for s in scores) / len(scores)
