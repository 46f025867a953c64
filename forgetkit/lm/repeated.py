"""Rows that a training reads more than once: what the frozen layers below give them stays the same.

Each of them is read alone, so that its states depend on nothing else: a training that goes on after
a kill gets the same bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from forgetkit.lm.encode import causal_model
from forgetkit.lm.layers import frozen_below

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.step import Item

MOST_BYTES = 256 << 20


class Repeated:
    """States (1, T, D) of repeated rows after the frozen first layers.

    Args:
        rows: token ids of the rows.
    """

    def __init__(self, rows: Iterable[Sequence[int]]) -> None:
        self._rows = {tuple(ids) for ids in rows}
        self._known: dict[tuple[int, ...], torch.Tensor] = {}

    @classmethod
    def of(
        cls, items: Sequence[Item], model: torch.nn.Module, most_bytes: int = MOST_BYTES
    ) -> Repeated:
        """Return what to keep of a training: the rows met most often, as far as there is room.

        Args:
            items: all items of the training, those before a kill too.
            model: that is trained; without frozen first layers there is nothing to keep.
            most_bytes: room for the states.
        """
        if not frozen_below(model):
            return cls(())
        width = int(causal_model(model).config.get_text_config().hidden_size)
        met = Counter(
            encoded.prompt_ids + encoded.answer_ids
            for item in items
            for examples in item.values()
            for encoded in examples
        )
        chosen, room = list[tuple[int, ...]](), most_bytes // (4 * width)
        for ids, times in sorted(met.items(), key=lambda found: (-found[1], found[0])):
            if times == 1 or len(ids) > room:
                break
            chosen.append(ids)
            room -= len(ids)
        return cls(chosen)

    def __contains__(self, ids: tuple[int, ...]) -> bool:
        """Say whether the states of a row are kept."""
        return ids in self._rows

    def states(self, ids: tuple[int, ...], read: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the states of one of the rows.

        Args:
            ids: of the row.
            read: reads it alone; called the first time.
        """
        if ids not in self._known:
            self._known[ids] = read()
        return self._known[ids]
