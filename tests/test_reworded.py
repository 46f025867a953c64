"""Passages found by their rare words: what a large index of works may cost."""

from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from forgetkit.match import reworded
from forgetkit.match.reworded import Reworded

SIZE = 320_000  # words of the work: 16,000 windows, of which 1 % are 160


def spelt(number: int) -> str:
    """Write a number in letters."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def shares(index: Reworded, text: str) -> npt.NDArray[np.float64]:
    """Return the share of each compared run of a document's words."""
    data = np.frombuffer(text.encode() + b"\0", np.uint8)
    _, runs = index.find(data, np.array([0]), np.array([len(text)]))
    return runs.share


def test_a_word_in_very_many_windows_nominates_none_however_many_windows_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its share of 16,000 windows is below 1 %: each of its 156 would be looked up for each run."""
    words = [spelt(number % 4_000) for number in range(SIZE)]
    for place in range(0, SIZE, SIZE // 78):  # each is in two windows
        words[place + 10], words[place + 12] = "keystone", "lantern"
    words[1_000:1_004] = ["saffron", "trellis", "quarry", "mantel"]
    work = " ".join(words)
    index = Reworded({"work": work})
    often, seldom = "keystone lantern " * 12, "saffron trellis quarry mantel " * 6
    assert len(shares(index, often)) == 0
    assert max(shares(index, seldom)) > 0.9
    monkeypatch.setattr(reworded, "MANY", 1_000)
    assert len(shares(Reworded({"work": work}), often)) > 0


def test_an_index_takes_few_bytes_a_word_of_the_works_and_few_more_while_it_is_made() -> None:
    words = [spelt(number % 8_000) for number in range(SIZE)]
    work = " ".join(words)
    shares(Reworded({"work": work[:10_000]}), work[:200])  # compiles
    tracemalloc.start()
    index = Reworded({"work": work})
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(shares(index, work[:2_000])) > 0
    assert held / SIZE < 30
    assert most / SIZE < 110
