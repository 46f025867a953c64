"""Layers that two models have in common, read once: unlearning often moves the upper ones only.

What the last of them gives is kept of each pass over rows, and the layers above go on from there:
for the other model, or for the same one after a training that left the lower layers as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from forgetkit.lm.encode import Encoded
from forgetkit.lm.layers import after_layer, first_layers_give

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.packed import Met

MOST_BYTES = 512 << 20

_Key = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


@dataclass(frozen=True)
class _Pass:
    """What the layers gave: states (1, T, D), and keys and values by layer where they were kept."""

    states: torch.Tensor
    met: Met

    @property
    def size(self) -> int:
        return self.states.nbytes + sum(part.nbytes for both in self.met for part in both)


class CommonLayers:
    """Passes over rows, as far as the first layers, while there is room for them.

    Args:
        layers: tells how many layers the models have in common; asked when it is first needed.
        again: passes will be asked for more than once.
        most_bytes: room for what they gave.
    """

    def __init__(
        self, layers: Callable[[], int], *, again: bool = False, most_bytes: int = MOST_BYTES
    ) -> None:
        self._ask = layers
        self._again = again
        self._room = most_bytes
        self._passes: dict[_Key, _Pass] = {}

    @property
    def is_empty(self) -> bool:
        """Say whether no pass is kept."""
        return not self._passes

    @cached_property
    def _layers(self) -> int:
        return self._ask()

    @contextlib.contextmanager
    def reading(
        self, model: torch.nn.Module, rows: Sequence[Encoded], met: Met | None
    ) -> Iterator[None]:
        """Run only the layers above in this block if the pass is known, else keep what they give.

        Args:
            model: runs one packed pass in the block.
            rows: of the pass.
            met: takes keys and values of all layers, or None.
        """
        key = tuple((row.prompt_ids, row.answer_ids) for row in rows)
        known = self._passes.get(key)
        if known is not None and (met is None or known.met):
            if not self._again:
                self._room += self._passes.pop(key).size
            if met is not None:
                met.extend(known.met)
            with first_layers_give(model, known.states, self._layers):
                yield
        elif not self._layers:
            yield
        else:
            with after_layer(model, self._layers) as reached:
                yield
            new = _Pass(reached[0], list(met[: self._layers]) if met is not None else [])
            if key not in self._passes and new.size <= self._room:
                self._passes[key] = new
                self._room -= new.size
