"""What the reference model says, read once per run for examples that come again.

Where a loss reads likelihoods alone, they are kept, (N,). Where it takes divergences, the last
hidden states at answer positions are, (N, D), not (N, V) logits: everything else follows from them
without loss, and the layers run once an example.
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
"""Memory that what is kept of a split may take; one that needs more is read at every step."""
FLOAT_BYTES = 4
BUCKET = 2048  # padded tokens of one pass


def with_reference(
    language_model: LanguageModel,
    items: Sequence[Item],
    splits: Sequence[str],
    likelihoods: Sequence[str] = (),
) -> tuple[list[Item], int]:
    """Return the items with what the reference says where that pays, and the tokens read for it.

    The passes depend on the whole list alone, so a run that is taken up again gets the same bits.

    Args:
        language_model: with an adapter, or with a frozen copy.
        items: all items of the training.
        splits: whose reference states the losses read.
        likelihoods: whose reference likelihoods they read.
    """
    weight = head_weight(language_model.model)
    if weight is None or weight.requires_grad:
        return list(items), 0
    of_states = _recurring(items, splits, weight.shape[1] * weight.element_size())
    of_nlls = _recurring(items, likelihoods, FLOAT_BYTES)
    with_states, with_nlls = (set().union(*of.values()) for of in (of_states, of_nlls))
    distinct = sorted(with_states | with_nlls, key=_ids)
    if not distinct:
        return list(items), 0
    read = _read(language_model, distinct, weight, with_states, with_nlls)
    said = dict(zip(distinct, read, strict=True))

    def known(split: str, encoded: Encoded) -> Encoded:
        states, nll = said.get(_plain(encoded), (None, None))
        if split in of_states:
            encoded = replace(encoded, reference=states)
        return replace(encoded, reference_nll=nll) if split in of_nlls else encoded

    made: list[Item] = [
        {split: [known(split, e) for e in examples] for split, examples in item.items()}
        for item in items
    ]
    return made, sum(len(encoded) for encoded in distinct)


def _plain(encoded: Encoded) -> Encoded:
    """Return the part of an example that the reference's states and likelihoods depend on."""
    ids = encoded.prompt_ids, encoded.answer_ids, encoded.other_ids
    return Encoded("", *ids, counted=encoded.counted)


def _ids(encoded: Encoded) -> tuple[object, ...]:
    return (
        len(encoded),
        encoded.prompt_ids,
        encoded.answer_ids,
        encoded.other_ids,
        encoded.counted,
    )


def _recurring(
    items: Sequence[Item], splits: Sequence[str], token_bytes: int
) -> dict[str, set[Encoded]]:
    """Return the distinct examples of the splits for which it pays to keep so much a token."""
    chosen = {}
    for split in splits:
        drawn = [_plain(e) for item in items for e in item.get(split, ())]
        found = set(drawn)
        fits = token_bytes * sum(len(encoded.places()) for encoded in found) <= MOST_BYTES
        if len(drawn) >= TURNS * len(found) > 0 and fits:
            chosen[split] = found
    return chosen


def _read(
    language_model: LanguageModel,
    examples: Sequence[Encoded],
    weight: torch.Tensor,
    with_states: set[Encoded],
    with_nlls: set[Encoded],
) -> list[tuple[torch.Tensor | None, torch.Tensor | None]]:
    """Run the reference model: states (N, D) and cross-entropies (N,), where asked, on the CPU."""
    import torch

    from forgetkit.lm.head import token_nll

    pad_id, device = int(language_model.tokenizer.pad_token_id), language_model.device
    kind = next(language_model.model.parameters()).dtype
    half = kind == torch.bfloat16
    found: dict[int, tuple[torch.Tensor | None, torch.Tensor | None]] = {}
    with reference_model(language_model.model) as model, contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if half:  # as in a step
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        for numbers in length_buckets([len(e) for e in examples], BUCKET):
            batch = collate([examples[number] for number in numbers], pad_id)
            on_device = {name: value.to(device) for name, value in batch.items()}
            hidden, sizes = answer_hidden(model, on_device), batch["length"].tolist()
            states = torch.split(hidden.cpu(), sizes)
            nlls: Sequence[torch.Tensor | None] = [None] * len(numbers)
            if any(examples[number] in with_nlls for number in numbers):
                nlls = torch.split(token_nll(hidden, weight, on_device["target"]).cpu(), sizes)
            for number, own, nll in zip(numbers, states, nlls, strict=True):
                example = examples[number]
                found[number] = (
                    own.clone() if example in with_states else None,
                    nll if example in with_nlls else None,
                )
    return [found[number] for number in range(len(examples))]
