"""Everything that the semantic detector compares with: single seeds, and windows of works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from forgetkit.mine.detector import Sought, Window, windows


@dataclass(frozen=True)
class Seed:
    """A text that stands for what is looked for, and where it comes from: a work, or a seed."""

    text: str
    work_id: str | None = None
    window: Window | None = None
    seed_id: str | None = None


class SoughtWindows(Sequence[str]):
    """The texts of seeds and of overlapping windows of works, cut out when they are asked for.

    Large works have hundreds of thousands, so only their places are held.

    Args:
        sought: seeds and works.
        length: of a window, in code points.
        least: shorter windows are left out, in code points.

    Attributes:
        work: number of the work, -1 of a seed, (n,).
        bounds: first code point in the work and one past the last, 0 and 0 of a seed, (n, 2).
    """

    def __init__(self, sought: Sought, length: int, least: int) -> None:
        self._works = sought.works
        self._named = list(sought.seeds_by_id().items())
        work, bounds = [np.full(len(self._named), -1)], [np.zeros((len(self._named), 2), np.int64)]
        for number, sought_work in enumerate(sought.works):
            found = windows(sought_work.text, length, overlap=True)
            places = [(w.start, w.end) for w in found if w.end - w.start >= least]
            work.append(np.full(len(places), number))
            bounds.append(np.array(places, np.int64).reshape(-1, 2))
        self.work: npt.NDArray[np.int64] = np.concatenate(work)
        self.bounds: npt.NDArray[np.int64] = np.concatenate(bounds)

    def __len__(self) -> int:
        return len(self.work)

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> list[str]: ...

    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[one] for one in range(len(self))[number]]
        work = int(self.work[number])
        if work < 0:
            return self._named[number][1]
        start, end = self.bounds[number].tolist()
        return self._works[work].text[start:end]

    def work_id(self, number: int) -> str | None:
        """Return the work that a window is of; None for a seed."""
        work = int(self.work[number])
        return None if work < 0 else self._works[work].work_id

    def seed(self, number: int) -> Seed:
        """Return one of them, and where it comes from."""
        work_id = self.work_id(number)
        if work_id is None:
            return Seed(self[number], seed_id=self._named[number][0])
        return Seed(self[number], work_id, Window(*self.bounds[number].tolist()))
