"""Continuations on a CPU: no padding, keys and values written in place, each prompt read once.

Rows of one token each stand end to end; linear layers read them as one, and attention reads what
each row has kept. A row that ends gives its place to the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from forgetkit.lm.encode import causal_model
from forgetkit.lm.kept import Kept, ReadRow, cut_row
from forgetkit.lm.packed import Met, attention_named, packed_attention

NAME = "forgetkit_decoding"
READ_TOKENS = 1024  # of prompts in one pass
MOST_BYTES = 512 << 20  # of keys and values of the rows continued at once
LEAST_ROWS, MOST_ROWS = 64, 256

Say = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From states (B, D) to the next tokens (B,) and their log-probabilities (B,)."""
New = tuple[list[int], list[float]]
"""Tokens that were said, and their log-probabilities."""


@torch.inference_mode()
def rows_at_once(model: torch.nn.Module, prompt: Sequence[int], longest: int) -> int:
    """Return how many rows of so many tokens are continued at once.

    Args:
        model: see `packs`.
        prompt: its first token is read, to see what the model keeps of one.
        longest: tokens of a row.
    """
    (row,) = _read(model, [prompt[:1]], None)
    a_token = sum(part.nbytes for part in row.layers)
    return max(LEAST_ROWS, min(MOST_ROWS, MOST_BYTES // (a_token * longest)))


@torch.inference_mode()
def decode(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    most_new: int,
    ends: set[int],
    say: Say,
    kept: Kept | None = None,
) -> list[New]:
    """Return what is said after each prompt, the end token left out.

    Args:
        model: see `packs`.
        prompts: token ids.
        most_new: longest continuation, in tokens.
        ends: tokens that end one.
        say: chooses the next tokens.
        kept: prompts that were read; those of it that are needed are taken.
    """
    read = _read(model, prompts, kept)
    found = [_begun(row, most_new, ends) for row in read]
    rows = [place for place, (_, goes_on) in enumerate(found) if goes_on]
    new = [begun for begun, _ in found]
    if not rows:
        return new
    states = torch.stack([read[row].state for row in rows])
    slots = _Slots(read, rows, max(map(len, prompts)) + most_new)
    del read, found
    decoder = causal_model(model).get_decoder()
    with attention_named(model, NAME, slots.attention):
        while True:
            # drawn in the order of the prompts, wherever their rows stand now
            order = torch.tensor(sorted(range(len(rows)), key=rows.__getitem__))
            token, value = torch.empty(len(rows), dtype=torch.long), torch.empty(len(rows))
            token[order], value[order] = say(states[order])
            alive = []
            for place, (one, its) in enumerate(zip(token.tolist(), value.tolist(), strict=True)):
                if one in ends:
                    continue
                said, values = new[rows[place]]
                said.append(one)
                values.append(its)
                if len(said) < most_new:
                    alive.append(place)
            if not alive:
                return new
            places = slots.keep(alive)
            rows, token = [rows[place] for place in places], token[places]
            states = decoder(
                input_ids=token[None], position_ids=slots.begin(), use_cache=False
            ).last_hidden_state[0]


def _begun(row: ReadRow, most_new: int, ends: set[int]) -> tuple[New, bool]:
    """Return what is known to be said already, and whether more is to come."""
    said, values = list(row.said[:most_new]), list(row.values[:most_new])
    for place, token in enumerate(said):
        if token in ends:
            return (said[:place], values[:place]), False
    return (said, values), len(said) < most_new


def _read(
    model: torch.nn.Module, prompts: Sequence[Sequence[int]], kept: Kept | None
) -> list[ReadRow]:
    """Return what the model has read of each prompt; equal ones are read once."""
    distinct = dict.fromkeys(map(tuple, prompts))
    known = {prompt: kept.take(prompt) for prompt in distinct} if kept else {}
    rows = {prompt: row for prompt, row in known.items() if row is not None}
    for chosen in _passes([prompt for prompt in distinct if prompt not in rows]):
        sizes = [len(prompt) for prompt in chosen]
        places = [torch.arange(size) for size in sizes]
        met: Met = []
        with packed_attention(model, [(size,) for size in sizes], met):
            found = causal_model(model).get_decoder()(
                input_ids=torch.tensor([[token for prompt in chosen for token in prompt]]),
                position_ids=torch.cat(places)[None],
                use_cache=False,
            )
        start = 0
        for prompt, size in zip(chosen, sizes, strict=True):
            state = found.last_hidden_state[0, start + size - 1].clone()
            rows[prompt] = ReadRow(cut_row(met, start, size), state)
            start += size
    return [rows[tuple(prompt)] for prompt in prompts]


def _passes(prompts: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    chosen: list[tuple[int, ...]] = []
    for prompt in prompts:
        if chosen and sum(map(len, chosen)) + len(prompt) > READ_TOKENS:
            yield chosen
            chosen = []
        chosen.append(prompt)
    if chosen:
        yield chosen


class _Slots:
    """Keys and values of the rows that are continued, a slot each.

    Args:
        read: what was read of the rows.
        rows: numbers of those that have a slot, in its order.
        longest: most tokens of a row.
    """

    def __init__(self, read: Sequence[ReadRow], rows: Sequence[int], longest: int) -> None:
        self._layers = [
            part.new_zeros(len(rows), part.shape[0], longest, part.shape[2])
            for part in read[rows[0]].layers
        ]  # keys and values in turn, (B, K, T, D); zeros, since what is masked is multiplied by 0
        sizes = [len(read[row]) for row in rows]
        for slot, row in enumerate(rows):
            for layer, part in zip(self._layers, read[row].layers, strict=True):
                layer[slot, :, : sizes[slot]] = part
        self._sizes = torch.tensor(sizes)
        self._mask = torch.zeros(0)
        self._turn = 0

    def keep(self, alive: Sequence[int]) -> list[int]:
        """Keep some slots, as the first ones; return which slot each of them was."""
        last = len(alive)
        moved = [slot for slot in alive if slot >= last]
        stays = set(alive)
        places = [slot if slot in stays else moved.pop() for slot in range(last)]
        for slot, source in enumerate(places):
            if slot != source:
                for layer in self._layers:
                    layer[slot] = layer[source]
        self._sizes = self._sizes[places]
        return places

    def begin(self) -> torch.Tensor:
        """Make room for one more token a slot; return their places, (1, B)."""
        places = self._sizes[None]
        self._sizes = self._sizes + 1
        behind = torch.arange(int(self._sizes.max())) >= self._sizes[:, None]
        self._mask = torch.zeros(behind.shape).masked_fill_(behind, -torch.inf)
        self._turn = 0
        return places

    def attention(
        self,
        _module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        _mask: torch.Tensor | None,
        scaling: float | None = None,
        **_named: Any,
    ) -> tuple[torch.Tensor, None]:
        """Return (1, B, H, D) from query (1, H, B, D) and key and value (1, K, B, D)."""
        keys, values = self._layers[self._turn : self._turn + 2]
        self._turn += 2
        heads, count, width = query.shape[1:]
        shared, longest = keys.shape[1], self._mask.shape[1]
        slots = torch.arange(count)
        keys[slots, :, self._sizes - 1] = key[0].transpose(0, 1)
        values[slots, :, self._sizes - 1] = value[0].transpose(0, 1)
        scale = width**-0.5 if scaling is None else scaling
        asked = query[0].transpose(0, 1).reshape(count * shared, heads // shared, width)
        known = keys[:count, :, :longest].flatten(0, 1)  # (B K, T, D)
        mask = self._mask.to(query.dtype).repeat_interleave(shared, 0)[:, None]
        scores = torch.baddbmm(mask, asked, known.transpose(1, 2), alpha=scale)
        shares = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
        read = torch.bmm(shares, values[:count, :, :longest].flatten(0, 1))
        return read.view(1, count, heads, width), None
