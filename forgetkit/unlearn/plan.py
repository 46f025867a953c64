"""What `unlearn` and `teach` would do: all is checked but the weights, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.files import check_space, folder_state
from forgetkit.lm.ranks import check_launcher
from forgetkit.plan import WORDS, Plan
from forgetkit.unlearn.assembly import default_rate, trainable
from forgetkit.unlearn.config import TeachConfig, UnlearnConfig
from forgetkit.unlearn.schedule import answers_of, schedule
from forgetkit.unlearn.seeds import MARKER, identity_of_seeds
from forgetkit.unlearn.stage import Asked, checked, identity_of
from forgetkit.unlearn.teach import identity_of as identity_of_teaching
from forgetkit.unlearn.teach import lesson_items, read_lessons
from forgetkit.unlearn.watch import Validation

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.step import Item

FLOAT_BYTES = 4
STATE = 5
"""Copies of the trained weights on disk: delivered, in training, best, and two of the optimiser."""


def plan_unlearn(
    model: str,
    forget_set: Path,
    out: Path,
    *,
    seeds: int = 1,
    config: UnlearnConfig | None = None,
) -> Plan:
    """Say what `unlearn`, or `unlearn_seeds`, would do.

    Raises:
        UsageError, InputError, StorageError: as the run would, as far as that shows without the
            weights.
    """
    from forgetkit.lm.load import load_outline

    given = config or UnlearnConfig()
    asked = checked(forget_set, given)
    if seeds > 1:
        state = folder_state(
            out, MARKER, lambda: identity_of_seeds(model, forget_set, seeds, given)
        )
    else:
        state = folder_state(out, "run.json", lambda: identity_of(model, forget_set, asked.config))
    base = load_outline(model, dtype=asked.config.dtype)
    size = int(base.model.num_parameters())
    language_model = trainable(base, asked.method, asked.config)
    tokens = seeds * tokens_of(_items(asked, language_model))
    counts: dict[str, Any] = {"method": asked.config.method}
    counts |= {"seeds": seeds} if seeds > 1 else {}
    counts |= {"steps, at most": asked.steps} | _examples(asked)
    counts |= {
        "tokens of training, at most": tokens,
        "learning rate": asked.config.learning_rate or default_rate(size, asked.config.peft),
    }
    whole = asked.config.peft == "none"
    merged = size if whole or asked.config.merge else 0
    counts |= _cost(language_model.model, size, tokens, out, seeds * merged, whole=whole)
    return Plan(WORDS[state], counts, tuple(asked.warnings))


def plan_teach(
    model: str,
    data: Sequence[Path],
    out: Path,
    *,
    mix: Sequence[Path] = (),
    config: TeachConfig | None = None,
) -> Plan:
    """Say what `teach` would do.

    Raises:
        UsageError, InputError, StorageError: as the run would, as far as that shows without the
            weights.
    """
    from forgetkit.lm.adapter import add_lora
    from forgetkit.lm.load import load_outline

    check_launcher(pieces=False)
    config = config or TeachConfig()
    state = folder_state(out, "run.json", lambda: identity_of_teaching(model, data, mix, config))
    lessons = read_lessons(data, mix)
    base = load_outline(model)
    size = int(base.model.num_parameters())
    language_model = add_lora(
        base, rank=config.rank, alpha=2 * config.rank, dropout=0.0, seed=config.seed
    )
    tokens = tokens_of(lesson_items(lessons.passages, lessons.kept, config, language_model))
    counts: dict[str, Any] = {
        "steps, at most": config.steps,
        "passages": len(lessons.passages),
        "rows mixed in": len(lessons.kept),
        "rows to measure on": len(lessons.spare),
        "tokens of training, at most": tokens,
        "learning rate": config.learning_rate,
    }
    counts |= _cost(language_model.model, size, tokens, out, size, whole=False)
    return Plan(WORDS[state], counts)


def tokens_of(items: Iterable[Item]) -> int:
    """Return the tokens that a training reads with gradient."""
    return sum(len(e) for item in items for examples in item.values() for e in examples)


def _items(asked: Asked, language_model: LanguageModel) -> Iterable[Item]:
    validation = Validation.of(asked.content)
    given = asked.content, asked.method, asked.config, language_model
    return schedule(*given, asked.steps, validation)


def _examples(asked: Asked) -> dict[str, int]:
    """Return how many examples of each split are trained on, and looked at."""
    splits, reads = asked.content.splits, asked.method.reads
    validation = Validation.of(asked.content)
    found = {"forget examples": len(splits["forget"])}
    if "mismatch" in reads:
        found["mismatched answers"] = len(answers_of(asked.content, asked.method))
    if "retain" in reads:
        found["retain examples"] = len(splits["retain"]) - len(validation.retain)
    looked = len(validation.forget) + len(validation.controls()) + len(validation.retain)
    return found | {"rows of a look": looked}


def _cost(
    model: torch.nn.Module, size: int, tokens: int, out: Path, delivered: int, *, whole: bool
) -> dict[str, int | float]:
    """Return parameters, time and room; check the room.

    Args:
        model: to be trained.
        size: its parameters without an adapter's.
        tokens: of the training.
        out: the output folder.
        delivered: parameters of the models that are written, merged or trained.
        whole: the weights themselves are trained.
    """
    from forgetkit.lm.speed import training_seconds

    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    room = FLOAT_BYTES * (STATE * trained + delivered)
    free = check_space(out, room)
    return {
        "parameters": size,
        "trained parameters": trained,
        "seconds of training, about": training_seconds(tokens, size, whole=whole),
        "MB on disk, about": round(room / 1e6),
        "MB free": round(free / 1e6),
    }
