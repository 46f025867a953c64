"""What a training reads, in which order: forget examples, mismatched answers, a share of retain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from forgetkit.errors import InputError
from forgetkit.forget_set import Example, ForgetSet
from forgetkit.seeds import generator
from forgetkit.unlearn.config import UnlearnConfig

if TYPE_CHECKING:
    from forgetkit.lm.encode import Encoded
    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.step import Item
    from forgetkit.unlearn.methods import Method
    from forgetkit.unlearn.watch import Validation

MASKED = frozenset({"forget", "retain"})
"""Splits whose examples say which characters of an answer take the loss."""
WITH = {"refusal": " --refusals FILE", "alternative": " --alternatives FILE"}


def with_answers(
    method: Method, config: UnlearnConfig, content: ForgetSet, asked: bool
) -> tuple[UnlearnConfig, list[str]]:
    """Check that every forget example has mismatched answers of the kind that the method reads.

    Args:
        method: what is trained.
        config: its settings.
        content: the forget set.
        asked: the user said how many answers of a forget example one step takes; a preset's number
            is only a wish.

    Returns:
        The settings, with as many `mismatch_answers` as every forget example has, and a warning
        where those are fewer.

    Raises:
        InputError: some have none, or fewer different ones than asked for.
    """
    wanted = config.mismatch_answers
    if "mismatch" not in method.reads:
        return config, []
    grouped = _by_pair(answers_of(content, method))
    counts = [len(grouped.get(e.example_id, ())) for e in content.splits["forget"]]
    least = min(counts, default=wanted)
    kind = method.answers or "ordinary"
    if not least:
        kinds = sorted({e.variant for e in content.splits["mismatch"]})
        raise InputError(
            f"the method {config.method} needs mismatched answers of the kind {kind}",
            found=f"{counts.count(0)} forget examples without; kinds: {', '.join(kinds) or 'none'}",
            mend=f"Build the set with `forgetkit build --mismatch {kind}`{WITH.get(kind, '')}.",
        )
    if asked and least < wanted:
        few = sum(count < wanted for count in counts)
        raise InputError(
            f"{few} of {len(counts)} forget examples have fewer than {wanted} different mismatched "
            "answers",
            found=f"{least} at least",
            mend=f"Build the set with `forgetkit build --set mismatch_answers={wanted}`, or ask "
            f"for {least}.",
        )
    if least >= wanted:
        return config, []
    warning = (
        f"{config.method} reads {wanted} different mismatched answers of a forget example in a "
        f"step, the set has {least}: so many were read (build --set mismatch_answers={wanted})"
    )
    return config.model_copy(update={"mismatch_answers": least}), [warning]


def answers_of(content: ForgetSet, method: Method) -> list[Example]:
    """Return the mismatched answers of the kind that a method reads."""
    rows = content.splits["mismatch"]
    return [e for e in rows if method.answers in ("", e.variant)]


def schedule(
    content: ForgetSet,
    method: Method,
    config: UnlearnConfig,
    language_model: LanguageModel,
    steps: int,
    validation: Validation,
) -> Iterator[Item]:
    """Yield the training items of all steps: a forget example, its mismatch, its share of retain.

    Every pass visits forget in a new order drawn by seed. The rows of the validation slice are not
    among the retain rows. Where an example says which characters take the loss, only their tokens
    do; an example of weight 2 counts as it would if it were there twice.
    """
    reads, forget = method.reads, content.splits["forget"]
    wanted = _ids_of(language_model, method.wants)
    apart = {e.example_id for e in validation.retain}
    rows = [e for e in content.splits["retain"] if e.example_id not in apart]
    if "retain" in reads and config.retain_share and not rows:
        raise InputError(
            "the split retain has too few rows to train on",
            found=f"{len(content.splits['retain'])} rows, {len(apart)} kept for validation",
            mend="Build the set with more --retain data.",
        )
    answers = answers_of(content, method)
    own = _Encoder(language_model, config, forget, "forget")
    other = _Encoder(language_model, config, answers, "mismatch")
    kept = _Encoder(language_model, config, rows, "retain")
    retain, order = _endless(rows, config), _endless(forget, config)
    grouped = {name: itertools.cycle(found) for name, found in _by_pair(answers).items()}
    owed = 0.0
    for _ in range(steps * config.batch_size):
        example = next(order)
        item: dict[str, list[Encoded]] = {"forget": [own(example)]}
        if wanted:
            item["forget"] = [encoded.wanting(wanted) for encoded in item["forget"]]
        if "mismatch" in reads:
            others = itertools.islice(grouped[example.example_id], config.mismatch_answers)
            item["mismatch"] = [other(answer) for answer in others]
        owed += config.retain_share if "retain" in reads else 0.0
        if owed >= 1:
            item["retain"] = [kept(next(retain)) for _ in range(int(owed))]
            owed -= int(owed)
        yield item


class _Encoder:
    """Encodes the examples of a split with their weights, scaled to a mean of 1 over the split."""

    def __init__(
        self,
        language_model: LanguageModel,
        config: UnlearnConfig,
        examples: Sequence[Example],
        split: str,
    ) -> None:
        self._tokenizer, self._config, self._split = language_model.tokenizer, config, split
        for example in examples:
            if not (math.isfinite(example.weight) and example.weight >= 0):
                raise InputError(
                    "a weight is no number from 0 on",
                    where=f"{split}, example {example.example_id}",
                    found=str(example.weight),
                )
        total = sum(example.weight for example in examples)
        if examples and not total:
            raise InputError("every weight is 0", where=f"split {split}")
        self._mean = total / max(len(examples), 1)

    def __call__(self, example: Example) -> Encoded:
        """Return the ids of an example, which of them count, and how much it weighs."""
        from forgetkit.lm.encode import encode

        encoded = encode(
            self._tokenizer,
            example,
            max_tokens=self._config.max_tokens,
            with_end=example.kind != "text",
            protected=example.answer_mask if self._split in MASKED else (),
        )
        return replace(encoded, weight=example.weight / self._mean)


def _ids_of(language_model: LanguageModel, text: str) -> list[int]:
    return list(language_model.tokenizer(text, add_special_tokens=False).input_ids) if text else []


def _by_pair(mismatch: Sequence[Example]) -> dict[str, list[Example]]:
    """Return the answers of each forget example; one that is there twice counts once."""
    groups: dict[str, dict[str, Example]] = {}
    for example in mismatch:
        groups.setdefault(example.pair_of, {}).setdefault(example.answer, example)
    return {name: list(found.values()) for name, found in groups.items()}


def _endless(examples: Sequence[Example], config: UnlearnConfig) -> Iterator[Example]:
    """Yield examples for ever, each pass in an order of its own."""
    for turn in itertools.count():
        order = generator(config.seed, f"order {len(examples)} {turn}").permutation(len(examples))
        yield from (examples[int(i)] for i in order)
