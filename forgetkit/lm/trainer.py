"""The transformers.Trainer subclass behind `forgetkit.lm.train` (imported when training starts)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from forgetkit.errors import InputError
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.step import Item, Step, join_splits
from forgetkit.lm.train import Keeper, TrainSettings


def training_arguments(
    settings: TrainSettings, steps: int, scratch: Path, model: torch.nn.Module
) -> TrainingArguments:
    """Translate our settings into the library's; it saves and reports nothing by itself.

    Products run in bfloat16 where the base weights are bfloat16: the format is chosen once, when
    the model is loaded.
    """
    first = next(model.parameters())
    return TrainingArguments(
        output_dir=str(scratch),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=round(settings.warmup_share * steps),
        lr_scheduler_type="linear",
        max_grad_norm=settings.clip,
        seed=settings.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
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
        advance: Callable[[str], None] | None,
    ) -> None:
        pad_id = int(language_model.tokenizer.pad_token_id)
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
        self._calls = 0

    def _get_train_sampler(self, *_: Any, **__: Any) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def _remove_unused_columns(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
        """Ask the method for its losses and return their sum.

        Raises:
            InputError: a loss is not finite.
        """
        losses = self.method(Step(model, inputs, self.memory))
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

    def take_losses(self) -> dict[str, float]:
        """Return the mean of each loss since the last call, and start anew."""
        found = {name: total / max(self._calls, 1) for name, total in self.losses.items()}
        self.losses, self._calls = {}, 0
        return found


class _AfterStep(TrainerCallback):  # type: ignore[misc]
    def __init__(
        self, trainer: SplitTrainer, keeper: Keeper, advance: Callable[[str], None] | None
    ) -> None:
        self._trainer, self._keeper, self._advance = trainer, keeper, advance

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Record losses, look at the validation slice, stop when it says so."""
        losses = self._trainer.take_losses()
        self._keeper.record(state.global_step, losses)
        if self._advance:
            self._advance(" ".join(f"{name} {value:.3f}" for name, value in losses.items()))
        if self._keeper.after(state.global_step):
            control.should_training_stop = True
