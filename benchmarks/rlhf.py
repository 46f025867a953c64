"""Unlearning against RLHF: seconds to the same rate of harmful answers (Yao et al. 2023).

    forgetkit run recipes/harmful.yaml --methods yao --out runs/harmful
    python benchmarks/rlhf.py runs/harmful --steps 100 --out benchmarks/results/rlhf.md

It needs trl, which is no dependency of forgetkit: `pip install trl` in an environment of its own
that holds forgetkit too (trl 1.16 keeps the torch that is there). Same model, same adapter, same
prompts for all:

- unlearning: `yao` with the settings of the recipe, on the model's own harmful answers alone;
- RLHF: a reward model (trl's RewardTrainer on pairs of a refusal and the harmful answer), then
  GRPO against it, 16 answers of 64 tokens a step; current trl has no PPO;
- DPO on the same pairs.

RLHF and DPO stop as soon as their rate on the prompts trained on is no higher than that of
unlearning; looks are not counted. Seconds are of the wall and of the processor.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer

from forgetkit.classify.judge import open_judge
from forgetkit.config import read_yaml
from forgetkit.embed import open_embedder
from forgetkit.forget_set import Example, read_forget_set
from forgetkit.lm.encode import render_prompt
from forgetkit.lm.generate import continuations
from forgetkit.lm.load import LanguageModel, load_model, resolve_model
from forgetkit.unlearn import UnlearnConfig, unlearn

ROOT = Path(__file__).resolve().parent.parent
ANSWER_TOKENS = 32
LOOK = 5  # steps between looks


@dataclass
class Clock:
    """Seconds of the wall and of the processor, without what is looked at in between."""

    wall: float = 0.0
    cpu: float = 0.0
    _began: tuple[float, float] = field(default=(0.0, 0.0))

    def start(self) -> None:
        self._began = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        self.wall += time.monotonic() - self._began[0]
        self.cpu += time.process_time() - self._began[1]


@dataclass
class Rates:
    """How many answers comply: on prompts trained on, and on others."""

    seen: Sequence[Example]
    unseen: Sequence[Example]

    def __post_init__(self) -> None:
        self._judge = open_judge(open_embedder().encode)

    def of(self, model: LanguageModel, rows: Sequence[Example]) -> float:
        prompts = [render_prompt(model.tokenizer, e.prompt, e.template) for e in rows]
        said = continuations(model, prompts, max_new_tokens=ANSWER_TOKENS)
        verdicts = self._judge.judge([e.prompt for e in rows], [s.text for s in said])
        return sum(v.label == "comply" for v in verdicts) / len(rows)


class Look(TrainerCallback):
    """Stop a training of trl once the rate is low enough."""

    def __init__(self, rates: Rates, model: LanguageModel, clock: Clock, goal: float) -> None:
        self.rates, self.model, self.clock, self.goal = rates, model, clock, goal
        self.history: list[tuple[int, float, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if state.global_step % LOOK and state.global_step != args.max_steps:
            return control
        self.clock.stop()
        was_training = self.model.model.training
        self.model.model.eval()
        rate = self.rates.of(self.model, self.rates.seen)
        self.model.model.train(was_training)
        self.history.append((state.global_step, rate, self.clock.wall))
        print(f"step {state.global_step}: {rate:.2f} after {self.clock.wall:.0f} s", flush=True)
        control.should_training_stop = rate <= self.goal
        self.clock.start()
        return control


def lora(task: TaskType = TaskType.CAUSAL_LM) -> LoraConfig:
    return LoraConfig(task_type=task, r=16, lora_alpha=32, target_modules="all-linear")


def preferences(rows: Sequence[Example]) -> Dataset:
    """Pair each harmful answer with a refusal."""
    lines = (ROOT / "sample_data/harm/refusals.jsonl").read_text("utf-8").splitlines()
    refusals = [json.loads(line)["answer"] for line in lines]

    def made() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(rows):
            yield {
                "prompt": [{"role": "user", "content": row.prompt}],
                "chosen": [{"role": "assistant", "content": refusals[number % len(refusals)]}],
                "rejected": [{"role": "assistant", "content": row.answer}],
            }

    return Dataset.from_list(list(made()))


def common(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return what all trainers of trl are given."""
    return {
        "output_dir": str(folder),
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1000,
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "bf16": torch.cuda.is_available(),
        "seed": 0,
    } | changes


def reward_model(name: str, pairs: Dataset, folder: Path, steps: int) -> tuple[Any, Any]:
    """Train a reward model of the same weights with trl; return it with its tokenizer."""
    base = load_model(name)
    model = AutoModelForSequenceClassification.from_pretrained(
        resolve_model(name)[0], num_labels=1, dtype=torch.float32
    )
    model.config.pad_token_id = base.tokenizer.pad_token_id
    args = RewardConfig(
        **common(folder, max_steps=steps, per_device_train_batch_size=8, learning_rate=5e-4)
    )
    trainer = RewardTrainer(
        model=get_peft_model(model, lora(TaskType.SEQ_CLS)),
        args=args,
        train_dataset=pairs,
        processing_class=base.tokenizer,
    )
    trainer.train()
    return trainer.model.merge_and_unload().eval(), base.tokenizer


def by_rlhf(
    name: str, pairs: Dataset, rates: Rates, goal: float, steps: int, clock: Clock, folder: Path
) -> LanguageModel:
    """Reward model, then GRPO."""
    clock.start()
    judge, judge_tokenizer = reward_model(name, pairs, folder, min(steps, 20))
    base = load_model(name)
    args = GRPOConfig(
        **common(
            folder,
            max_steps=steps,
            per_device_train_batch_size=16,
            num_generations=8,
            max_completion_length=64,
            learning_rate=2e-4,
            beta=0.04,
        )
    )
    trainer = GRPOTrainer(
        model=get_peft_model(base.model, lora()),
        reward_funcs=[judge],
        reward_processing_classes=[judge_tokenizer],
        args=args,
        train_dataset=pairs.select_columns(["prompt"]),
        processing_class=base.tokenizer,
    )
    model = LanguageModel(trainer.model, base.tokenizer, base.name, base.folder)
    trainer.add_callback(Look(rates, model, clock, goal))
    trainer.train()
    clock.stop()
    return model


def by_dpo(
    name: str, pairs: Dataset, rates: Rates, goal: float, steps: int, clock: Clock, folder: Path
) -> LanguageModel:
    """DPO on the same pairs."""
    clock.start()
    base = load_model(name)
    args = DPOConfig(
        **common(folder, max_steps=steps, per_device_train_batch_size=8, learning_rate=5e-4)
    )
    trainer = DPOTrainer(
        model=get_peft_model(base.model, lora()),
        args=args,
        train_dataset=pairs,
        processing_class=base.tokenizer,
    )
    model = LanguageModel(trainer.model, base.tokenizer, base.name, base.folder)
    trainer.add_callback(Look(rates, model, clock, goal))
    trainer.train()
    clock.stop()
    return model


def by_unlearning(name: str, forget_set: Path, clock: Clock, folder: Path) -> LanguageModel:
    """Unlearn with the recipe's own settings."""
    from forgetkit.lm.adapter import load_adapter

    size = read_yaml(ROOT / "recipes/harmful.yaml")["sizes"]["small"]
    config = UnlearnConfig(**{"method": "yao"} | size["unlearn"] | size["methods"]["yao"])
    clock.start()
    done = unlearn(name, forget_set, folder / "yao", config=config)
    clock.stop()
    return load_adapter(load_model(name), done.adapter)


def main() -> None:
    """Run the three ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of `forgetkit run recipes/harmful.yaml`")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", type=int, default=40, help="prompts of each kind that are judged")
    parser.add_argument("--ways", default="DPO,RLHF")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    forget_set = given.run / "forget_set"
    content = read_forget_set(forget_set)
    seen, unseen = content.splits["forget"][: given.rows], content.splits["holdout"][: given.rows]
    rates, pairs = Rates(seen, unseen), preferences(content.splits["forget"])
    base = load_model(given.model)
    before = [rates.of(base, rows) for rows in (seen, unseen)]
    lines = [
        f"{given.model}, {len(pairs)} harmful prompts trained on, {len(seen)} of them and "
        f"{len(unseen)} others judged, {torch.get_num_threads()} thread(s).",
        "",
        "| | wall, s | processor, s | harmful, trained on | harmful, unseen | times unlearning |",
        "|---|---|---|---|---|---|",
        f"| before | | | {before[0]:.2f} | {before[1]:.2f} | |",
    ]
    ways: dict[str, Callable[[Clock, Path, float], LanguageModel]] = {
        "unlearning (yao)": lambda c, f, _: by_unlearning(given.model, forget_set, c, f),
        "DPO": lambda c, f, goal: by_dpo(given.model, pairs, rates, goal, given.steps, c, f),
        "RLHF": lambda c, f, goal: by_rlhf(given.model, pairs, rates, goal, given.steps, c, f),
    }
    goal, first = 0.0, 1.0
    for name, run in ways.items():
        if name in ("DPO", "RLHF") and name not in given.ways.split(","):
            continue
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            model = run(clock, Path(folder), goal)
        model.model.eval()
        after = [rates.of(model, rows) for rows in (seen, unseen)]
        if name.startswith("unlearning"):
            goal, first = after[0], clock.wall
        reached = "" if after[0] <= goal else " (rate not reached)"
        lines.append(
            f"| {name}{reached} | {clock.wall:.0f} | {clock.cpu:.0f} | {after[0]:.2f} | "
            f"{after[1]:.2f} | {clock.wall / first:.1f}× |"
        )
        print("\n".join(lines), flush=True)
        if given.out:
            given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
