"""What a training reads, in which order: forget examples, mismatched answers, a share of retain."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
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

WITH = {"refusal": " --refusals FILE", "alternative": " --alternatives FILE"}


def check_answers(method: Method, config: UnlearnConfig, content: ForgetSet) -> None:
    """Check that every forget example has mismatched answers of the kind that the method reads.

    Raises:
        InputError: some have none.
    """
    if "mismatch" not in method.reads:
        return
    answered = {e.pair_of for e in _answers(content, method)}
    missing = [e for e in content.splits["forget"] if e.example_id not in answered]
    if missing:
        kinds = sorted({e.variant for e in content.splits["mismatch"]})
        kind = method.answers or "ordinary"
        raise InputError(
            f"the method {config.method} needs mismatched answers of the kind {kind}",
            found=f"{len(missing)} forget examples without; kinds: {', '.join(kinds) or 'none'}",
            mend=f"Build the set with `forgetkit build --mismatch {kind}`{WITH.get(kind, '')}.",
        )


def _answers(content: ForgetSet, method: Method) -> list[Example]:
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
    among the retain rows.
    """
    from forgetkit.lm.encode import encode

    def ids(example: Example) -> Encoded:
        whole = example.kind != "text"
        return encode(
            language_model.tokenizer, example, max_tokens=config.max_tokens, with_end=whole
        )

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
    retain = _endless(rows, config)
    grouped = _by_pair(_answers(content, method))
    order = _endless(forget, config)
    owed = 0.0
    for _ in range(steps * config.batch_size):
        example = next(order)
        item: dict[str, list[Encoded]] = {"forget": [ids(example)]}
        if wanted:
            item["forget"] = [encoded.wanting(wanted) for encoded in item["forget"]]
        if "mismatch" in reads:
            others = itertools.islice(grouped[example.example_id], config.mismatch_answers)
            item["mismatch"] = [ids(other) for other in others]
        owed += config.retain_share if "retain" in reads else 0.0
        if owed >= 1:
            item["retain"] = [ids(next(retain)) for _ in range(int(owed))]
            owed -= int(owed)
        yield item


def _ids_of(language_model: LanguageModel, text: str) -> list[int]:
    return list(language_model.tokenizer(text, add_special_tokens=False).input_ids) if text else []


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
