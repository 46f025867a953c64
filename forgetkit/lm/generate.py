"""Continuations: batched, similar lengths together; finished rows leave.

On a CPU `forgetkit.lm.decode` runs them, without padding; other models and devices take the
library's own cache, with prompts padded on the left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.lm.encode import causal_model, head_weight, length_buckets, shortened
from forgetkit.lm.load import LanguageModel

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.decode import New, Say
    from forgetkit.lm.kept import Kept

Choice = Callable[["torch.Tensor"], "torch.Tensor"]
"""From the logits of the next token (B, V) to its id (B,)."""

BATCH_SIZE = 64
"""Prompts decoded at once with the library's own cache."""

NO_WINDOW = 1 << 20
"""Tokens that a model without a window of its own reads at once."""


@dataclass(frozen=True)
class Sampling:
    """Draw tokens from the model's own distribution instead of taking the likeliest.

    Attributes:
        seed: of the draws; the same seed and order of prompts give the same text.
        temperature: divides the logits; 1 is the model's own distribution.
    """

    seed: int
    temperature: float = 1.0


@dataclass(frozen=True)
class Continuation:
    """What a model says after a prompt.

    Attributes:
        text: special tokens removed.
        log_probability: of each new token under the model that said it, in nats; the end token is
            not among them.
        ids: the new tokens, without the end token.
    """

    text: str
    log_probability: tuple[float, ...]
    ids: tuple[int, ...] = ()

    @property
    def nll(self) -> float | None:
        """Return the mean cross-entropy of the new tokens in nats; None when there is none."""
        values = self.log_probability
        return -sum(values) / len(values) if values else None


def continuations(
    language_model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    max_tokens: int | None = None,
    batch_size: int | None = None,
    sampling: Sampling | None = None,
    kept: Kept | None = None,
    advance: Callable[[int], None] | None = None,
) -> list[Continuation]:
    """Continue each prompt.

    Settings that came with the model (a repetition penalty, a temperature) are not applied; the
    end tokens that it names are. A prompt that leaves no room for the continuation in the model's
    window keeps its end (and its start token).

    Args:
        language_model: the model.
        prompts: token ids of the rendered prompts.
        max_new_tokens: longest continuation, in tokens; never more than the window has.
        max_tokens: as of `encode`: a prompt keeps its last half of them at most.
        batch_size: prompts decoded at once; default: `BATCH_SIZE`, on a CPU as many as there is
            room for.
        sampling: draw the tokens; default: greedily.
        kept: prompts that this model has read with `score`; sampling reads them itself.
        advance: called with the number of prompts done.

    Raises:
        InputError: a prompt is empty.
    """
    if not all(prompts):
        raise InputError("a prompt is empty", mend="Give at least one prompt token.")
    tokenizer, model = language_model.tokenizer, language_model.model
    window = _window(language_model)
    max_new_tokens = min(max_new_tokens, window - 1)
    room = window - max_new_tokens
    if max_tokens is not None:
        room = min(room, max(1, max_tokens // 2))
    asked = [tuple(shortened(list(p), room, tokenizer.bos_token_id)) for p in prompts]
    rows = asked if sampling else list(dict.fromkeys(asked))  # one greedy continuation a prompt
    was_training = model.training
    model.eval()
    said: dict[int, Continuation] = {}
    groups, decode = _way(language_model, rows, max_new_tokens, batch_size, sampling, kept)
    for indices in groups:
        new = decode([rows[i] for i in indices])
        drawn = [ids for ids, _ in new]
        texts = tokenizer.batch_decode(
            drawn, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        for index, text, (ids, values) in zip(indices, texts, new, strict=True):
            said[index] = Continuation(text, tuple(values), tuple(ids))
        if advance:
            advance(len(indices))
    model.train(was_training)
    if sampling:
        return [said[index] for index in range(len(rows))]
    if advance and len(rows) < len(asked):
        advance(len(asked) - len(rows))
    place = {prompt: index for index, prompt in enumerate(rows)}
    return [said[place[prompt]] for prompt in asked]


def _way(
    language_model: LanguageModel,
    rows: Sequence[tuple[int, ...]],
    max_new_tokens: int,
    batch_size: int | None,
    sampling: Sampling | None,
    kept: Kept | None,
) -> tuple[list[list[int]], Callable[[Sequence[Sequence[int]]], list[New]]]:
    """Return which rows are continued at once, and what continues them."""
    from forgetkit.lm import decode
    from forgetkit.lm.packed import packs

    model, weight = language_model.model, head_weight(language_model.model)
    lengths = [len(row) for row in rows]
    longest = max(lengths, default=1)
    draw = _drawing(language_model, sampling) if sampling else None
    if rows and weight is not None and packs(model, longest + max_new_tokens):
        ends, say = _end_ids(language_model), _saying(weight, draw)
        most = batch_size or decode.rows_at_once(model, rows[0], longest + max_new_tokens)
        return even_groups(lengths, most), lambda prompts: decode.decode(
            model, prompts, max_new_tokens, ends, say, None if draw else kept
        )
    buckets = length_buckets(lengths, longest * (batch_size or BATCH_SIZE))
    return buckets, lambda prompts: _decode(
        language_model, prompts, max_new_tokens, draw or _greedy
    )


def even_groups(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Group indices by length into as few groups of at most `most` as there can be, all alike.

    >>> even_groups([3, 9, 2, 4], most=3)
    [[1, 3], [0, 2]]
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    count = math.ceil(len(order) / most)
    cuts = [len(order) * n // count for n in range(count + 1)]
    return [order[start:end] for start, end in itertools.pairwise(cuts)]


def _saying(weight: torch.Tensor, draw: Choice | None) -> Say:
    from forgetkit.lm.head import all_logits, best_tokens

    def say(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if draw is None:
            return best_tokens(states, weight)
        logits = all_logits(states, weight)
        token = draw(logits)
        return token, logits.log_softmax(1).gather(1, token[:, None]).squeeze(1)

    return say


def _greedy(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(1)


def _drawing(language_model: LanguageModel, sampling: Sampling) -> Choice:
    import torch

    device = language_model.device
    generator = torch.Generator(device).manual_seed(sampling.seed % 2**63)

    def draw(logits: torch.Tensor) -> torch.Tensor:
        shares = (logits.float() / sampling.temperature).softmax(1)
        return torch.multinomial(shares, 1, generator=generator).squeeze(1)

    return draw


def _decode(
    language_model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    choose: Choice,
) -> list[tuple[list[int], list[float]]]:
    """Return the new ids of each prompt and their log-probabilities, the end token left out."""
    import torch

    ends = _end_ids(language_model)
    ids, mask = _padded(language_model, prompts)
    new: list[tuple[list[int], list[float]]] = [([], []) for _ in prompts]
    rows = list(range(len(prompts)))
    position, cache = mask.cumsum(1) - 1, None
    with torch.inference_mode():
        for step in range(max_new_tokens):
            found = causal_model(language_model.model)(
                input_ids=ids,
                attention_mask=mask,
                position_ids=position.clamp_min(0),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits, cache = found.logits[:, -1], found.past_key_values
            token = choose(logits)
            values = logits.float().log_softmax(1).gather(1, token[:, None]).squeeze(1).tolist()
            ids_now = token.tolist()
            alive = [place for place, t in enumerate(ids_now) if t not in ends]
            for place in alive:
                said_ids, said_values = new[rows[place]]
                said_ids.append(ids_now[place])
                said_values.append(values[place])
            if not alive or step + 1 == max_new_tokens:
                break
            position = position[:, -1:] + 1
            if len(alive) < len(rows):
                kept = torch.tensor(alive, device=mask.device)
                token, mask, position = token[kept], mask[kept], position[kept]
                rows = [rows[place] for place in alive]
                cache.batch_select_indices(kept)
            ids = token[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
    return new


def _end_ids(language_model: LanguageModel) -> set[int]:
    """Return the end tokens of the tokenizer and of the model; chats often end with one more."""
    settings = getattr(causal_model(language_model.model), "generation_config", None)
    named = getattr(settings, "eos_token_id", None)
    own = named if isinstance(named, list | tuple) else [named]
    return {int(i) for i in (language_model.tokenizer.eos_token_id, *own) if i is not None}


def _window(language_model: LanguageModel) -> int:
    """Return the most tokens that the model reads at once."""
    settings = causal_model(language_model.model).config.get_text_config()
    return max(2, int(getattr(settings, "max_position_embeddings", None) or NO_WINDOW))


def _padded(language_model: LanguageModel, prompts: Sequence[Sequence[int]]) -> Any:
    """Return ids and mask, (B, T) each, prompts at the right end."""
    import torch

    width = max(map(len, prompts))
    pad_id = int(language_model.tokenizer.pad_token_id)
    ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, width - len(prompt) :] = 1
    return ids.to(language_model.device), mask.to(language_model.device)
