"""From protected characters to the tokens that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forgetkit.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def protected_tokens(
    tokenizer: PreTrainedTokenizerBase, text: str, ranges: Sequence[tuple[int, int]]
) -> list[bool]:
    """Say which tokens of a text hold a character of some range `[start, end)`.

    A token at an edge holds characters of both sides; it counts as protected.

    Raises:
        InputError: the tokenizer does not know where its tokens lie.
    """
    if not tokenizer.is_fast:
        raise InputError(
            "the forget set masks characters, and the tokenizer cannot say which token holds them",
            found=type(tokenizer).__name__,
            mend="Use a model with a fast tokenizer (tokenizer.json).",
        )
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return [any(a < end and start < b for start, end in ranges) for a, b in found.offset_mapping]
