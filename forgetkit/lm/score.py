"""Teacher-forced scores: one pass over a split gives every likelihood and memorisation number."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgetkit.errors import InputError
from forgetkit.lm.encode import (
    Encoded,
    PromptAnswer,
    answer_hidden,
    answer_logits,
    causal_model,
    collate,
    encode,
    head_weight,
    length_buckets,
)
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.shared import longest_shared, rows_by_prompt

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.common import CommonLayers
    from forgetkit.lm.kept import Kept


BATCH_TOKENS = {"cpu": 1024}
"""Tokens of one forward pass; on a CPU more outgrow its caches (4,096: 15 % slower)."""


@dataclass(frozen=True)
class Score:
    """What one model gives one answer under teacher forcing.

    Attributes:
        example_id: of the example.
        log_probability: natural log-probability of each answer token.
        argmax_hit: whether the most likely token was the right one, per answer token.
        mean: log-probability expected of a token drawn from the model, per answer token; empty
            unless asked for.
        deviation: its standard deviation; empty unless asked for.
    """

    example_id: str
    log_probability: tuple[float, ...]
    argmax_hit: tuple[bool, ...]
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def nll(self) -> float:
        """Return the mean cross-entropy per answer token in nats; NaN when there is none."""
        if not self.log_probability:
            return math.nan
        return -sum(self.log_probability) / len(self.log_probability)


def extraction_strength(hits: Sequence[bool]) -> float | None:
    """Return 1 - k*/n, k* the least k such that every argmax from k on is right.

    That is the share of the answer that greedy decoding recovers when it is given the rest
    (Carlini et al. 2021). Nothing right gives 0; no answer token gives None. Lower is better
    after unlearning; range [0, 1].

    >>> extraction_strength([False, True, False, True])
    0.25
    """
    if not hits:
        return None
    right = 0
    for hit in reversed(hits):
        if not hit:
            break
        right += 1
    return right / len(hits)


def exact_memorization(hits: Sequence[bool]) -> float | None:
    """Return the share of answer positions whose argmax is right; None when there is none.

    Tirumala et al. 2022. Lower is better after unlearning; range [0, 1].

    >>> exact_memorization([True, False])
    0.5
    """
    return sum(hits) / len(hits) if hits else None


def score(
    language_model: LanguageModel,
    examples: Sequence[PromptAnswer],
    *,
    max_tokens: int = 1024,
    batch_tokens: int | None = None,
    spread: bool = False,
    keep: Kept | None = None,
    common: CommonLayers | None = None,
    advance: Callable[[int], None] | None = None,
) -> list[Score]:
    """Read every example once and return its scores, in the order given.

    Args:
        language_model: the model; it is put into evaluation mode for the pass.
        examples: prompts and answers; the end token is not part of an answer here.
        max_tokens: longest prompt and answer together.
        batch_tokens: tokens in one forward pass; default `BATCH_TOKENS` of the device.
        spread: also give mean and deviation of the log-probability (for min-k++).
        keep: takes the prompts for `continuations`, where rows can be packed.
        common: layers that were, or will be, run over the same rows for another model.
        advance: called with the number of examples done.

    Raises:
        InputError: a prompt is empty, or the model gives NaN or an infinity.
    """
    import torch

    from forgetkit.lm.packed import like_prompts, packs

    encoded = [encode(language_model.tokenizer, e, max_tokens=max_tokens) for e in examples]
    results: list[Score | None] = [None] * len(encoded)
    model = language_model.model
    was_training = model.training
    model.eval()
    most = batch_tokens or BATCH_TOKENS.get(language_model.device.type, 8192)
    pad_id = int(language_model.tokenizer.pad_token_id)
    lengths = [len(e) for e in encoded]
    packed = packs(model, max(lengths, default=0))
    groups = like_prompts(encoded, most) if packed else length_buckets(lengths, most)
    with torch.inference_mode():
        for indices in groups:
            group = [encoded[i] for i in indices]
            batch = {k: v.to(language_model.device) for k, v in collate(group, pad_id).items()}
            if packed:
                found = _packed_scores(model, group, batch, spread, keep, common)
            else:
                found = answer_scores(model, batch, spread=spread)
            columns = [column.tolist() for column in found]
            if not all(map(math.isfinite, columns[0])):
                raise InputError(
                    "the model gives likelihoods that are not finite",
                    where=language_model.name,
                    mend="Its weights are broken, or --dtype does not suit it.",
                )
            ends = batch["length"].cumsum(0).tolist()
            for index, start, end in zip(indices, [0, *ends[:-1]], ends, strict=True):
                parts = (tuple(column[start:end]) for column in columns)
                results[index] = Score(encoded[index].example_id, *parts)
            if advance:
                advance(len(indices))
    model.train(was_training)
    return [result for result in results if result is not None]


def answer_scores(
    model: torch.nn.Module, batch: Mapping[str, torch.Tensor], *, spread: bool = False
) -> tuple[torch.Tensor, ...]:
    """Return the log-probability of each answer token and whether it is the argmax, (N,) each.

    With `spread` mean and deviation of the log-probability follow, (N,) each.
    """
    from forgetkit.lm.head import scores_of_logits, token_scores

    weight = head_weight(model)
    if weight is not None:
        return token_scores(answer_hidden(model, batch), weight, batch["target"], spread=spread)
    return scores_of_logits(answer_logits(model, batch), batch["target"], spread=spread)


def _packed_scores(
    model: torch.nn.Module,
    rows: Sequence[Encoded],
    batch: dict[str, torch.Tensor],
    spread: bool,
    keep: Kept | None,
    common: CommonLayers | None,
) -> tuple[torch.Tensor, ...]:
    """Return `answer_scores` of rows that stand end to end, a prompt once for all its answers."""
    from forgetkit.lm.head import token_scores
    from forgetkit.lm.packed import Met, pack, packed_attention

    lengths = batch["attention_mask"].sum(1)
    answered = (batch["length"] > 0).nonzero()[:, 0]
    batch["attention_mask"][answered, lengths[answered] - 1] = 0  # it tells no answer token
    width = int(causal_model(model).config.get_text_config().hidden_size)
    units = rows_by_prompt(batch, width, longest_shared(model), masked=False)
    part, _ = pack(batch, units)
    part["target"] = batch["target"]
    weight = head_weight(model)
    met: Met | None = None if keep is None or weight is None else []
    lower = common.reading(model, rows, met) if common else contextlib.nullcontext()
    with packed_attention(model, part["packed"], met), lower:
        if keep is None or weight is None or met is None:
            return answer_scores(model, part, spread=spread)
        states = answer_hidden(model, part)
    found = token_scores(states, weight, batch["target"], spread=spread)
    keep.add(rows, units, met, states, [column.tolist() for column in found[:2]])
    return found
