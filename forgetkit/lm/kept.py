"""Rows that a model has read and goes on from: their keys and values, and the last state.

A prompt that was read with its answer is continued without being read again, and as far as the
answer is what greedy decoding says, that was read too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgetkit.lm.encode import Encoded

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.packed import Met

MOST_BYTES = 512 << 20


@dataclass(frozen=True)
class ReadRow:
    """A row that a model has read.

    Attributes:
        layers: keys and values of its tokens, in turn, (K, T, D) each.
        state: the last state of its last token, (D,).
        said: tokens at its end that greedy decoding says after those before.
        values: their log-probabilities.
    """

    layers: tuple[torch.Tensor, ...]
    state: torch.Tensor
    said: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def __len__(self) -> int:
        """Return the number of tokens that were read."""
        return int(self.layers[0].shape[1])


def cut_row(met: Met, start: int, size: int) -> tuple[torch.Tensor, ...]:
    """Return keys and values of some tokens of a packed pass, in turn, (K, T, D) each."""
    return tuple(part[:, start : start + size].clone() for both in met for part in both)


class Kept:
    """Prompts of one model, kept while there is room for them.

    Args:
        most_bytes: room for their keys and values.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._rows: dict[tuple[int, ...], ReadRow] = {}
        self._room = most_bytes

    def take(self, prompt: Sequence[int]) -> ReadRow | None:
        """Return what was read of a prompt, and keep it no longer."""
        row = self._rows.pop(tuple(prompt), None)
        if row is not None:
            self._room += sum(part.nbytes for part in row.layers)
        return row

    def add(
        self,
        rows: Sequence[Encoded],
        units: Sequence[Sequence[int]],
        met: Met,
        states: torch.Tensor,
        scores: Sequence[Sequence[float]],
    ) -> None:
        """Keep prompts of a pass.

        Args:
            rows: that were read; those without an answer are not kept.
            units: numbers of rows, as they stand in the pass.
            met: keys and values of the pass.
            states: that predict answer tokens, (N, D), in the order of the rows.
            scores: log-probability of each answer token, and whether it is the most likely.
        """
        a_token = sum(part[:, :1].nbytes for both in met for part in both)
        firsts = _starts([len(row.answer_ids) for row in rows])
        sizes = [_size(rows, unit) for unit in units]
        for unit, start in zip(units, _starts(sizes), strict=True):
            row, first, known = rows[unit[0]], firsts[unit[0]], 0
            if len(unit) == 1:  # behind a shared prompt other answers stand too
                while known < len(row.answer_ids) - 1 and scores[1][first + known]:
                    known += 1
            size = len(row.prompt_ids) + known
            if row.prompt_ids in self._rows or not row.answer_ids or size * a_token > self._room:
                continue
            self._rows[row.prompt_ids] = ReadRow(
                cut_row(met, start, size),
                states[first + known].clone(),
                row.answer_ids[:known],
                tuple(scores[0][first : first + known]),
            )
            self._room -= size * a_token


def _size(rows: Sequence[Encoded], unit: Sequence[int]) -> int:
    """Return the tokens of a unit; the last of an answer is not read."""
    return len(rows[unit[0]].prompt_ids) + sum(max(0, len(rows[n].answer_ids) - 1) for n in unit)


def _starts(sizes: Sequence[int]) -> list[int]:
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    return starts[:-1]
