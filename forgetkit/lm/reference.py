"""What the reference model says, read once per run for examples that come again.

Kept are the last hidden states at answer positions (N, D), not (N, V) logits: every divergence and
likelihood of the reference follows from them without loss, and the layers run once an example.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from forgetkit.lm.encode import Encoded, answer_hidden, collate, head_weight, length_buckets
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.trained import reference_model

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.step import Item

TURNS = 2
"""An example is read once for all where the examples of its split come so often on average."""
MOST_BYTES = 1 << 30
"""Memory that kept states may take; a split that needs more is read at every step."""
BUCKET = 2048  # padded tokens of one pass


def with_reference(
    language_model: LanguageModel, items: Sequence[Item], splits: Sequence[str]
) -> tuple[list[Item], int]:
    """Return the items with the reference's states where that pays, and the tokens read for it.

    The passes depend on the whole list alone, so a run that is taken up again gets the same bits.

    Args:
        language_model: with an adapter, or with a frozen copy.
        items: all items of the training.
        splits: whose reference states the losses read.
    """
    chosen = {
        split: found for split in splits if (found := _recurring(language_model, items, split))
    }
    if not chosen:
        return list(items), 0
    distinct = sorted({e for found in chosen.values() for e in found}, key=_ids)
    states = dict(zip(distinct, _states(language_model, distinct), strict=True))

    def known(split: str, encoded: Encoded) -> Encoded:
        return replace(encoded, reference=states[_plain(encoded)]) if split in chosen else encoded

    made: list[Item] = [
        {split: [known(split, e) for e in examples] for split, examples in item.items()}
        for item in items
    ]
    return made, sum(len(encoded) for encoded in distinct)


def _plain(encoded: Encoded) -> Encoded:
    """Return the part of an example that the reference's states depend on."""
    return Encoded("", encoded.prompt_ids, encoded.answer_ids, counted=encoded.counted)


def _ids(encoded: Encoded) -> tuple[object, ...]:
    return len(encoded), encoded.prompt_ids, encoded.answer_ids, encoded.counted


def _recurring(
    language_model: LanguageModel, items: Sequence[Item], split: str
) -> set[Encoded] | None:
    """Return the distinct examples of a split, or None where keeping their states does not pay."""
    weight = head_weight(language_model.model)
    if weight is None or weight.requires_grad:
        return None
    drawn = [_plain(e) for item in items for e in item.get(split, ())]
    found = set(drawn)
    size = weight.shape[1] * weight.element_size()
    bytes_needed = size * sum(len(encoded.places()) for encoded in found)
    pays = len(drawn) >= TURNS * len(found) > 0 and bytes_needed <= MOST_BYTES
    return found if pays else None


def _states(language_model: LanguageModel, examples: Sequence[Encoded]) -> list[torch.Tensor]:
    """Run the reference model, and return the states (N, D) of each example, on the CPU."""
    import torch

    pad_id, device = int(language_model.tokenizer.pad_token_id), language_model.device
    kind = next(language_model.model.parameters()).dtype
    half = kind == torch.bfloat16
    found: dict[int, torch.Tensor] = {}
    with reference_model(language_model.model) as model, contextlib.ExitStack() as stack:
        if half:  # as in a step
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        for numbers in length_buckets([len(e) for e in examples], BUCKET):
            batch = collate([examples[number] for number in numbers], pad_id)
            on_device = {name: value.to(device) for name, value in batch.items()}
            parts = torch.split(answer_hidden(model, on_device).cpu(), batch["length"].tolist())
            found |= dict(zip(numbers, parts, strict=True))
    return [found[number] for number in range(len(examples))]
