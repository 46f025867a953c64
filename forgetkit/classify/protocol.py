"""What every classifier looks like from outside: a name, categories, scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Classifier(Protocol):
    """Score texts in named categories, each on its own (they need not sum to one).

    Attributes:
        name: as given to `open_classifier`.
        categories: what the columns of the scores mean.
    """

    @property
    def name(self) -> str:
        """The name this classifier was opened by."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the score columns."""

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return scores in [0, 1], shape (n, categories); no text gives shape (0, categories)."""


def pair_text(prompt: str, answer: str) -> str:
    r"""Join a prompt and its answer as the classifiers of answers expect them.

    >>> pair_text("Who?", " Me. ")
    'Who?\n\nMe.'
    """
    return f"{prompt.strip()}\n\n{answer.strip()}"
