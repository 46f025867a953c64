"""Greedy continuations: batched, padded on the left, similar lengths together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.lm.encode import length_buckets
from forgetkit.lm.load import LanguageModel

if TYPE_CHECKING:
    from transformers import GenerationConfig


def continuations(
    language_model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
    advance: Callable[[int], None] | None = None,
) -> list[str]:
    """Continue each prompt greedily and return the new text, special tokens removed.

    Args:
        language_model: the model.
        prompts: token ids of the rendered prompts.
        max_new_tokens: longest continuation, in tokens.
        batch_size: prompts decoded at once.
        advance: called with the number of prompts done.

    Raises:
        InputError: a prompt is empty.
    """
    import torch
    from transformers import GenerationConfig

    if not all(prompts):
        raise InputError("a prompt is empty", mend="Give at least one prompt token.")
    tokenizer, model = language_model.tokenizer, language_model.model
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    texts = [""] * len(prompts)
    longest = max((len(p) for p in prompts), default=1)
    was_training = model.training
    model.eval()
    for indices in length_buckets([len(p) for p in prompts], longest * batch_size):
        width = max(len(prompts[i]) for i in indices)
        ids = torch.full((len(indices), width), int(tokenizer.pad_token_id), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, index in enumerate(indices):
            ids[row, width - len(prompts[index]) :] = torch.tensor(list(prompts[index]))
            mask[row, width - len(prompts[index]) :] = 1
        with torch.inference_mode(), _own_settings(model, settings):
            output = model.generate(
                input_ids=ids.to(language_model.device),
                attention_mask=mask.to(language_model.device),
                generation_config=settings,
            )
        new = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
        for index, text in zip(indices, new, strict=True):
            texts[index] = text
        if advance:
            advance(len(indices))
    model.train(was_training)
    return texts


@contextlib.contextmanager
def _own_settings(model: Any, settings: GenerationConfig) -> Iterator[None]:
    """Hide the settings that came with the model: the library fills ours up with them.

    A repetition penalty or a sampling temperature in its folder would make greedy text another.
    """
    holders = [model, model.get_base_model()] if hasattr(model, "get_base_model") else [model]
    kept = [holder.generation_config for holder in holders]
    try:
        for holder in holders:
            holder.generation_config = settings
        yield
    finally:
        for holder, own in zip(holders, kept, strict=True):
            holder.generation_config = own
