"""How far the KL of top k and tail is from the exact one, on a sample of tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from forgetkit.lm.encode import Encoded, answer_hidden, collate, head_weight
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.trained import reference_model

if TYPE_CHECKING:
    from forgetkit.lm.step import Item

SAMPLE = 256
"""Answer tokens of the sample, about."""
ROWS = 16
"""Examples that they come from, at most."""
NOTHING = 1e-6
"""KL in nats a token below which float32 says nothing of an error's share."""


class Approximation:
    """Compares the two on the same examples whenever it is asked; nothing of a training moves.

    Args:
        language_model: that is trained.
        items: of the training; examples that bring the reference's most likely tokens are taken.
    """

    def __init__(self, language_model: LanguageModel, items: Sequence[Item]) -> None:
        self._model = language_model
        self._rows = _sample(items)

    def __call__(self) -> dict[str, Any]:
        """Return tokens, exact and approximate KL in nats a token, and the error's share of exact.

        The share is None where the exact KL is next to nothing; `tail_mass` is what the reference
        gives the tokens outside of the k, on average.
        """
        import torch

        from forgetkit.lm.head import token_kl
        from forgetkit.lm.top_k import TopK, joined, token_top_kl

        model, weight = self._model.model, head_weight(self._model.model)
        found = [row.reference_top for row in self._rows if row.reference_top is not None]
        if not found or weight is None:
            return {}
        batch = collate(self._rows, int(self._model.tokenizer.pad_token_id))
        batch = {name: value.to(self._model.device) for name, value in batch.items()}
        columns = {name: value.to(self._model.device) for name, value in joined(found).items()}
        top, was_training = TopK(**columns), model.training
        model.eval()
        with torch.no_grad(), contextlib.ExitStack() as stack:
            if next(model.parameters()).dtype == torch.bfloat16:  # as in a step
                stack.enter_context(torch.autocast(self._model.device.type, torch.bfloat16))
            ours = answer_hidden(model, batch)
            with reference_model(model) as reference:
                theirs = answer_hidden(reference, batch)
            exact = float(token_kl(ours, theirs, weight).mean())
            near = float(token_top_kl(ours, top, weight).mean())
        model.train(was_training)
        return {
            "tokens": len(top.ids),
            "k": top.ids.shape[1],
            "tail_mass": round(float(top.log_tail.exp().mean()), 6),
            "exact_kl": float(f"{exact:.6g}"),
            "top_k_kl": float(f"{near:.6g}"),
            "relative_error": round(near / exact - 1, 4) if exact > NOTHING else None,
        }


def _sample(items: Sequence[Item]) -> list[Encoded]:
    """Return different examples from all over the training, by their order in it."""
    brought = (e for item in items for examples in item.values() for e in examples)
    rows = list(dict.fromkeys(e for e in brought if e.reference_top is not None and e.places()))
    chosen: list[Encoded] = []
    for number in range(min(ROWS, len(rows))):
        if sum(len(row.places()) for row in chosen) < SAMPLE:
            chosen.append(rows[number * len(rows) // min(ROWS, len(rows))])
    return chosen
