"""The transformers.Trainer subclass behind `forgetkit.lm.train` (imported when training starts)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_scheduler,
)

from forgetkit.errors import InputError
from forgetkit.lm.checkpoint import Checkpoint, outcome_values, random_state, restore_random
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.ranks import average_gradients, average_numbers, world_size
from forgetkit.lm.repeated import Repeated
from forgetkit.lm.step import Item, Step, join_splits
from forgetkit.lm.train import Keeper, Kept, TrainSettings
from forgetkit.lm.trained import trained_state


def training_arguments(
    settings: TrainSettings, steps: int, done: int, scratch: Path, model: torch.nn.Module
) -> TrainingArguments:
    """Translate our settings into the library's; it saves and reports nothing by itself.

    Products run in bfloat16 where the base weights are bfloat16: the format is chosen once, when
    the model is loaded.
    """
    first = next(model.parameters())
    return TrainingArguments(
        output_dir=str(scratch),
        max_steps=steps - done,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip,
        seed=settings.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=list(settings.report_to),
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        use_cpu=first.device.type == "cpu",
        bf16=first.dtype == torch.bfloat16,
    )


class SplitTrainer(Trainer):  # type: ignore[misc]
    """Trains on items of named splits; the method turns a step into losses."""

    def __init__(
        self,
        language_model: LanguageModel,
        items: Sequence[Item],
        method: Callable[[Step], dict[str, torch.Tensor]],
        arguments: TrainingArguments,
        keeper: Keeper,
        repeated: Repeated,
        advance: Callable[[str], None] | None,
    ) -> None:
        pad_id = int(language_model.tokenizer.pad_token_id)
        self._repeated = repeated
        super().__init__(
            model=language_model.model,
            args=arguments,
            train_dataset=list(items),
            data_collator=lambda group: join_splits(group, pad_id),
            callbacks=[_AfterStep(self, keeper, advance)],
        )
        self.remove_callback(PrinterCallback)  # stdout belongs to results
        self.model_accepts_loss_kwargs = False  # losses are means already
        self.method = method
        self.losses: dict[str, float] = {}
        self.memory: dict[str, float] = {}  # of the method, from step to step
        self.read = {"model": 0, "reference": 0}  # tokens since the last step
        self._calls = 0
        self._kept: Kept | None = None
        self._random: list[torch.Tensor] = []

    def keep_state(
        self, settings: TrainSettings, steps: int, kept: Kept | None, found: Checkpoint | None
    ) -> None:
        """Make optimiser and schedule of the whole training, as they were left if it goes on.

        Args:
            settings: of the optimiser.
            steps: of the whole training.
            kept: where to keep the state.
            found: the state to go on from.
        """
        moving = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            moving, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        warmup = round(settings.warmup_share * steps)
        self.lr_scheduler = get_scheduler("linear", self.optimizer, warmup, steps)
        self._kept = kept
        if found:
            self.optimizer.load_state_dict(found.optimizer)
            self.lr_scheduler.load_state_dict(found.schedule)
            self.memory, self._random = dict(found.memory), found.random

    def take_random_state(self) -> None:
        """Draw on where the training was left; once, after the library has drawn for itself."""
        if self._random:
            restore_random(self._random)
            self._random = []

    def save_state(self, keeper: Keeper, step: int) -> None:
        """Keep the state after a step, if that was asked for."""
        if self._kept is None or self._kept.read_only:
            return
        outcome = keeper.outcome
        Checkpoint(
            run=self._kept.run,
            step=step,
            trained=trained_state(self.model),
            best=None if outcome.best_step == step else keeper.best,
            best_loss=keeper.best_loss,
            outcome=outcome_values(outcome),
            optimizer=self.optimizer.state_dict(),
            schedule=self.lr_scheduler.state_dict(),
            random=random_state(),
            memory=dict(self.memory),
        ).save(self._kept.path)

    def _get_train_sampler(self, *_: Any, **__: Any) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def _remove_unused_columns(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def compute_loss(self, _model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
        """Ask the method for its losses and return their sum.

        The model is read without the wrapper that the library puts around it for several
        processes: a method reads hidden states, and `training_step` averages.

        Raises:
            InputError: a loss is not finite.
        """
        step = Step(self.model, inputs, self.memory, repeated=self._repeated)
        losses = self.method(step)
        for name, tokens in step.read.items():
            self.read[name] += tokens
        for name, value in losses.items():
            number = float(value.detach())
            if number != number or abs(number) == float("inf"):
                raise InputError(
                    f"the loss '{name}' is not finite at step {self.state.global_step + 1}",
                    found=str(number),
                    mend="Lower --learning-rate.",
                )
            self.losses[name] = self.losses.get(name, 0.0) + number
        self._calls += 1
        return torch.stack(list(losses.values())).sum()

    def training_step(self, *given: Any, **named: Any) -> torch.Tensor:
        """Run forward and backward; several processes average what came of it."""
        loss: torch.Tensor = super().training_step(*given, **named)
        average_gradients(p for p in self.model.parameters() if p.requires_grad)
        moved = average_numbers(self.memory, loss.device)
        self.memory.update({name: max(0.0, value) for name, value in moved.items()})
        return loss

    def report(self, row: Mapping[str, Any]) -> None:
        """Tell the trackers of a step: its losses and what a look said."""
        numbers = {f"loss/{name}": value for name, value in row["losses"].items()}
        numbers |= {name: v for name, v in row.items() if name not in ("step", "losses")}
        if self.args.report_to:
            self.log(numbers)

    def take_losses(self) -> dict[str, float]:
        """Return the mean of each loss since the last call, and start anew."""
        found = {name: total / max(self._calls, 1) for name, total in self.losses.items()}
        self.losses, self._calls = {}, 0
        return average_numbers(found, self.args.device)

    def take_read(self) -> dict[str, int]:
        """Return the tokens read since the last call, and start anew."""
        found, self.read = self.read, dict.fromkeys(self.read, 0)
        means = average_numbers({k: float(v) for k, v in found.items()}, self.args.device)
        return {name: round(value * world_size()) for name, value in means.items()}


class _AfterStep(TrainerCallback):  # type: ignore[misc]
    def __init__(
        self, trainer: SplitTrainer, keeper: Keeper, advance: Callable[[str], None] | None
    ) -> None:
        self._trainer, self._keeper, self._advance = trainer, keeper, advance
        self._tokens, self._seconds, self._began = 0, 0.0, 0.0  # of the steps without the looks

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Record losses, look at the validation slice, stop when it says so."""
        keeper, step = self._keeper, self._keeper.done + state.global_step
        losses, read = self._trainer.take_losses(), self._trainer.take_read()
        keeper.record(step, losses, read, self._trainer.memory)
        self._tokens += read["model"]
        self._seconds += time.monotonic() - self._began
        if self._advance:
            words = [f"{self._tokens / max(self._seconds, 1e-9):.0f} tokens/s"]
            self._advance(" · ".join(words + [f"{n} {value:.3f}" for n, value in losses.items()]))
        finished = keeper.after(step)
        self._trainer.report(keeper.outcome.history[-1])
        if finished:
            control.should_training_stop = True
        elif keeper.looks_after(step):
            self._trainer.save_state(keeper, step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Draw on where the training was left."""
        self._began = time.monotonic()
        self._trainer.take_random_state()
