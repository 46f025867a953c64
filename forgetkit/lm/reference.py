"""What the reference model says, read once per run for examples that come again.

Where a loss reads likelihoods alone, they are kept, (N,). Where it takes divergences, the last
hidden states at answer positions are, (N, D), not (N, V) logits: everything else follows from them
without loss, and the layers run once an example. Or, where that is asked for, the k most likely
tokens of each place are, and the mass of all others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forgetkit.errors import InputError
from forgetkit.lm.encode import Encoded, answer_hidden, collate, head_weight, length_buckets
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.trained import reference_model

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.step import Item
    from forgetkit.lm.top_k import TopK

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
    tops: Sequence[str] = (),
    k: int = 0,
) -> tuple[list[Item], int]:
    """Return the items with what the reference says where that pays, and the tokens read for it.

    The passes depend on the whole list alone, so a run that is taken up again gets the same bits.
    The most likely tokens are read wherever they are asked for: they are another loss.

    Args:
        language_model: with an adapter, or with a frozen copy.
        items: all items of the training.
        splits: whose reference states the losses read.
        likelihoods: whose reference likelihoods they read.
        tops: whose divergence is taken from the reference's most likely tokens.
        k: of these, how many a place.

    Raises:
        InputError: the most likely tokens take too much memory.
    """
    weight = head_weight(language_model.model)
    if weight is None or weight.requires_grad:
        return list(items), 0
    of_states = _recurring(items, splits, weight.shape[1] * weight.element_size())
    of_nlls = _recurring(items, likelihoods, FLOAT_BYTES)
    of_tops = _most_likely(items, tops, min(k, len(weight)))
    chosen = [set[Encoded]().union(*of.values()) for of in (of_states, of_nlls, of_tops)]
    wanted = _Wanted(chosen[0], chosen[1], chosen[2], k)
    distinct = sorted(wanted.states | wanted.nlls | wanted.tops, key=_ids)
    if not distinct:
        return list(items), 0
    read = _read(language_model, distinct, weight, wanted)
    said = dict(zip(distinct, read, strict=True))

    def known(split: str, encoded: Encoded) -> Encoded:
        found = said.get(_plain(encoded), _Said())
        return replace(
            encoded,
            reference=found.states if split in of_states else encoded.reference,
            reference_nll=found.nll if split in of_nlls else encoded.reference_nll,
            reference_top=found.top if split in of_tops else encoded.reference_top,
        )

    made: list[Item] = [
        {split: [known(split, e) for e in examples] for split, examples in item.items()}
        for item in items
    ]
    return made, sum(len(encoded) for encoded in distinct)


@dataclass(frozen=True)
class _Wanted:
    """The examples whose states, likelihoods and k most likely tokens are to be read."""

    states: set[Encoded]
    nlls: set[Encoded]
    tops: set[Encoded]
    k: int


@dataclass(frozen=True)
class _Said:
    """What the reference says of one example, as far as it was asked."""

    states: torch.Tensor | None = None
    nll: torch.Tensor | None = None
    top: TopK | None = None


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


def _most_likely(items: Sequence[Item], splits: Sequence[str], k: int) -> dict[str, set[Encoded]]:
    """Return the distinct examples of the splits whose k most likely tokens are kept.

    Raises:
        InputError: they take too much memory.
    """
    chosen = {s: {_plain(e) for item in items for e in item.get(s, ())} for s in splits}
    tokens = sum(len(e.places()) for e in set().union(*chosen.values()))
    most = (MOST_BYTES // max(tokens, 1) - FLOAT_BYTES) // (2 * FLOAT_BYTES)
    if k > most:
        raise InputError(
            f"the {k} most likely tokens of the reference at {tokens} places take more than "
            f"{MOST_BYTES >> 20} MiB",
            mend=f"Give reference_top_k={max(most, 1)} or less, or 0: exact.",
        )
    return chosen


def _read(
    language_model: LanguageModel,
    examples: Sequence[Encoded],
    weight: torch.Tensor,
    wanted: _Wanted,
) -> list[_Said]:
    """Run the reference model, and bring what it says of each example to the CPU."""
    import torch

    from forgetkit.lm.head import token_nll
    from forgetkit.lm.top_k import top_k_of

    pad_id, device = int(language_model.tokenizer.pad_token_id), language_model.device
    kind = next(language_model.model.parameters()).dtype
    half = kind == torch.bfloat16
    found: dict[int, _Said] = {}
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
            tops: Sequence[TopK | None] = [None] * len(numbers)
            if any(examples[number] in wanted.nlls for number in numbers):
                nlls = torch.split(token_nll(hidden, weight, on_device["target"]).cpu(), sizes)
            if any(examples[number] in wanted.tops for number in numbers):
                tops = top_k_of(hidden, weight, wanted.k).parts(sizes)
            for number, own, nll, top in zip(numbers, states, nlls, tops, strict=True):
                example = examples[number]
                found[number] = _Said(
                    own.clone() if example in wanted.states else None,
                    nll if example in wanted.nlls else None,
                    top if example in wanted.tops else None,
                )
    return [found[number] for number in range(len(examples))]
