"""The one Trainer: it gets batches of named splits and asks a method for named losses.

It knows no method. Precision, clipping, schedule and accumulation come from the library.
One concatenated forward serves all splits of a step, and the head runs at answer positions only.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.lm.approximation import Approximation
from forgetkit.lm.checkpoint import Checkpoint
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.parts import parts_of, weighed
from forgetkit.lm.ranks import pieces_of_our_own, world_size
from forgetkit.lm.reference import with_reference
from forgetkit.lm.repeated import Repeated
from forgetkit.lm.sharded import check_even, is_sharded
from forgetkit.lm.step import Item, Step
from forgetkit.lm.trained import has_adapter, restore_trained, trained_state

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TrainSettings:
    """How to train: numbers of the optimiser, nothing of a method.

    Attributes:
        learning_rate: peak rate of AdamW.
        batch_size: training items of one forward pass, of each process if there are several.
        accumulation: forward passes of one optimiser step.
        warmup_share: share of the steps in which the rate rises.
        clip: largest gradient norm.
        watch_every: optimiser steps between looks at the validation slice; 0: never.
        seed: of dropout and order.
        report_to: trackers, by the library's names.
        most_tokens: tokens of one forward pass with gradient; a batch of more is cut into parts,
            whose gradients add up to the same; 0: never cut.
        reference_splits: splits whose reference states are read once where examples come again.
        reference_likelihoods: splits whose reference likelihoods are.
        reference_tops: splits whose divergence is taken from the reference's most likely tokens.
        reference_top_k: how many of these a place.
    """

    learning_rate: float
    batch_size: int
    accumulation: int = 1
    warmup_share: float = 0.1
    clip: float = 1.0
    weight_decay: float = 0.0
    watch_every: int = 0
    seed: int = 0
    report_to: tuple[str, ...] = ()
    most_tokens: int = 0
    reference_splits: tuple[str, ...] = ()
    reference_likelihoods: tuple[str, ...] = ()
    reference_tops: tuple[str, ...] = ()
    reference_top_k: int = 0


@dataclass(frozen=True)
class Kept:
    """Where a training keeps its state.

    Attributes:
        path: a file; it is there from the first look on and stays after the last step.
        run: digest of what the training is; a file of another training is not taken up.
        read_only: another process writes the file.
    """

    path: Path
    run: str
    read_only: bool = False


@dataclass(frozen=True)
class Look:
    """What the validation slice said after some step.

    Attributes:
        values: named numbers, for the history.
        loss: what the best checkpoint minimises; infinite when a constraint is broken.
        done: stop here; `reason` says why.
        reason: in words.
    """

    values: Mapping[str, float]
    loss: float
    done: bool = False
    reason: str = ""


@dataclass
class Outcome:
    """What training did.

    Attributes:
        history: one row a step: step, named losses, what the method keeps from step to step (such
            as a dual variable, by name), and validation values where there was a look.
        best_step: the step whose weights are kept.
        steps: optimiser steps run.
        stopped: why it ended before the last step; empty otherwise.
        tokens: tokens of all forward passes with gradient, padding not counted.
        reference_tokens: tokens that the reference model read.
        seconds: wall time, of all attempts if it was taken up again.
        reference_seconds: of which the reference was read before training, in the last attempt.
        scale: what the update of the last step was multiplied by, so that a constraint holds.
        approximation: how far the KL of the reference's most likely tokens is from the exact one,
            after the first step that moves weights and after the last; empty where none is taken.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_step: int = 0
    steps: int = 0
    stopped: str = ""
    tokens: int = 0
    reference_tokens: int = 0
    seconds: float = 0.0
    reference_seconds: float = 0.0
    scale: float = 1.0
    approximation: list[dict[str, Any]] = field(default_factory=list)


def train(
    language_model: LanguageModel,
    items: Sequence[Item],
    method: Callable[[Step], dict[str, torch.Tensor]],
    settings: TrainSettings,
    *,
    watch: Callable[[int], Look] | None = None,
    shrink: Callable[[int], tuple[float, Look] | None] | None = None,
    advance: Callable[[str], None] | None = None,
    scratch: Path,
    kept: Kept | None = None,
) -> Outcome:
    """Train an adapter, or a model; it ends with the weights of the best look, if one was taken.

    Args:
        language_model: with an adapter.
        items: training items in the order in which they are used, once each.
        method: from a step to its named losses.
        settings: of the optimiser.
        watch: looks at the validation slice; called before the first step and every
            `settings.watch_every` steps.
        shrink: called after the last step; may multiply the update, and says by what and what the
            slice then says. It counts as a look, and as the best one where that is `done`.
        advance: called after each optimiser step with a line: tokens per second of the steps so
            far, and losses.
        scratch: a folder for the library's own files.
        kept: where the state is kept at every look, and taken up again after a kill: the outcome
            is that of a training that nothing disturbed.

    Raises:
        InputError: a loss or a weight is not finite, or no weight moved.
        UsageError: of a model in pieces, passes of different processes hold different splits.
    """
    from forgetkit.lm.lora import fused_updates
    from forgetkit.lm.trainer import SplitTrainer, training_arguments

    started = time.monotonic()
    before = trained_state(language_model.model)
    one = settings.batch_size * settings.accumulation * world_size()
    steps = math.ceil(len(items) / one)
    keeper = Keeper(language_model.model, Outcome(), watch, settings.watch_every, steps, before)
    found = Checkpoint.of(kept.path, kept.run) if kept else None
    if found:
        keeper.take_up(found)
    outcome = keeper.outcome
    outcome.reference_seconds = 0.0
    # The library seeds the global generators.
    with _random_state_kept():
        if not found:
            keeper.look(0)
        if not keeper.finished and keeper.done < steps:
            began = time.monotonic()
            items, read = with_reference(
                language_model,
                items,
                settings.reference_splits,
                settings.reference_likelihoods,
                settings.reference_tops,
                settings.reference_top_k,
            )
            if settings.reference_tops:
                keeper.compare = Approximation(language_model, items)
            outcome.reference_seconds = time.monotonic() - began
            items, settings = in_parts(items, settings)
            in_pieces = is_sharded(language_model.model)  # then every process runs it as often
            if in_pieces:
                check_even(items, settings.batch_size)
            outcome.reference_tokens += 0 if found else read
            with pieces_of_our_own(), fused_updates(language_model.model):
                trainer = SplitTrainer(
                    language_model,
                    items[keeper.done * one :],
                    method,
                    training_arguments(settings, steps, keeper.done, scratch, language_model.model),
                    keeper,
                    Repeated(()) if in_pieces else Repeated.of(items, language_model.model),
                    advance,
                )
                trainer.keep_state(settings, steps, kept, found)
                trainer.train()
    if outcome.steps:
        keeper.take_less(shrink)
        keeper.restore()
        if outcome.best_step:
            check_moved(before, trained_state(language_model.model), outcome.steps)
    outcome.seconds += time.monotonic() - started
    language_model.model.eval()
    return outcome


def in_parts(
    items: Sequence[Item], settings: TrainSettings
) -> tuple[Sequence[Item], TrainSettings]:
    """Return items and settings of the same steps in smaller parts, where a batch is too large."""
    size, whole = settings.batch_size, settings.batch_size * settings.accumulation * world_size()
    parts = parts_of(items, size, settings.most_tokens)
    if parts == 1 or len(items) % whole:
        return items, settings
    smaller = replace(
        settings, batch_size=size // parts, accumulation=settings.accumulation * parts
    )
    return weighed(items, whole, size // parts), smaller


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    import random

    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class Keeper:
    """Looks at the validation slice, keeps the best weights and says when to stop."""

    def __init__(
        self,
        model: torch.nn.Module,
        outcome: Outcome,
        watch: Callable[[int], Look] | None,
        every: int,
        steps: int,
        before: Mapping[str, torch.Tensor],
    ) -> None:
        self._model, self.outcome, self._watch = model, outcome, watch
        self._every, self._steps = every, steps
        self.best_loss = math.inf
        self.best: dict[str, torch.Tensor] | None = None
        self.finished = False
        self.done = 0
        self.compare: Callable[[], dict[str, Any]] | None = None
        # A copy of all weights of full fine-tuning is not worth an early check.
        self._before, self._first_check = before, FIRST_CHECK if has_adapter(model) else 0

    def take_up(self, found: Checkpoint) -> None:
        """Go on from a state that was kept."""
        restore_trained(self._model, found.trained)
        self.outcome = Outcome(**found.outcome)
        self.best, self.best_loss = found.best, found.best_loss
        if self.best is None and self.outcome.best_step == found.step:
            self.best = found.trained
        self.done = found.step

    def looks_after(self, step: int) -> bool:
        """Say whether there is a look after a step."""
        return bool(self._every) and (step % self._every == 0 or step == self._steps)

    def after(self, step: int) -> bool:
        """Look if it is time; return whether training shall stop.

        Raises:
            InputError: after the first steps every weight is what it was.
        """
        self.outcome.steps = step
        if step == self._first_check:
            check_moved(self._before, trained_state(self._model), step)
        if self.looks_after(step):
            self.look(step)
        last = self.finished or step == self._steps
        if self.compare and (last or step == FIRST_CHECK):
            self.outcome.approximation.append({"step": step} | self.compare())
        return self.finished

    def record(
        self,
        step: int,
        losses: Mapping[str, float],
        read: Mapping[str, int],
        memory: Mapping[str, float],
    ) -> None:
        """Add a step's losses and memory to the history, and the tokens it read to the counts."""
        kept = {name: round(value, 6) for name, value in memory.items()}
        self.outcome.history.append({"step": step, "losses": dict(losses)} | kept)
        self.outcome.tokens += read["model"]
        self.outcome.reference_tokens += read["reference"]

    def look(self, step: int) -> None:
        """Measure now, and keep the weights when they are the best so far."""
        if self._watch is None or not self._every:
            self.outcome.best_step = step
            return
        look = self._watch(step)
        history = self.outcome.history
        if not history or history[-1]["step"] != step:
            history.append({"step": step, "losses": {}})
        history[-1] |= look.values
        if look.loss < self.best_loss:
            self.best_loss, self.outcome.best_step = look.loss, step
            self.best = trained_state(self._model)
        if look.done:
            self.finished, self.outcome.stopped = True, look.reason

    def take_less(self, shrink: Callable[[int], tuple[float, Look] | None] | None) -> None:
        """Try a smaller update than that of the last step, if there are looks."""
        step, outcome = self.outcome.steps, self.outcome
        if shrink is None or not self._every:
            return
        found = shrink(step)
        if found and (found[1].done or found[1].loss < self.best_loss):
            outcome.scale, look = found
            outcome.history[-1] |= {**look.values, "scale": outcome.scale}
            self.best_loss, outcome.best_step = look.loss, step
            self.best = trained_state(self._model)

    def restore(self) -> None:
        """Put the best weights back, or leave the last ones when nothing was watched."""
        if self.best is not None and self.outcome.best_step != self.outcome.steps:
            restore_trained(self._model, self.best)
        elif self._watch is None or not self._every:
            self.outcome.best_step = self.outcome.steps


FIRST_CHECK = 2
"""Step after which an adapter must have moved; at the first one warm-up has a rate of 0."""


def check_moved(
    before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], steps: int
) -> None:
    """Check that training changed the weights, and left numbers.

    Raises:
        InputError: every weight is what it was, or one is not finite.
    """
    broken = [name for name, value in after.items() if not bool(value.isfinite().all())]
    if broken:
        raise InputError(
            f"{len(broken)} weights are not finite after {steps} steps",
            found=broken[0],
            mend="Lower --learning-rate; nothing was written.",
        )
    if not any(not bool((before[name] == after[name]).all()) for name in before):
        raise InputError(
            f"training moved no weight in {steps} steps",
            mend="Raise --learning-rate or --steps; nothing was written.",
        )
