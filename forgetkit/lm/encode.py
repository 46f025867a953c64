"""Turn prompts and answers into token ids and batches.

The answer starts where the prompt's own ids end, counted before any padding, and padding is
known by the attention mask alone: no id is special, so a model whose pad token is its end token
loses nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from forgetkit.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.top_k import TopK

PLAIN_PAIR = "### Question: {prompt}\n### Answer:"  # as in Yao et al. 2023


class PromptAnswer(Protocol):
    """What can be encoded: an example of a forget set, or anything of that shape."""

    @property
    def example_id(self) -> str:
        """Return the id that scores are reported under."""

    @property
    def prompt(self) -> str:
        """Return the text before the answer."""

    @property
    def answer(self) -> str:
        """Return the text whose tokens take the loss."""

    @property
    def template(self) -> str:
        """Return `plain` or `chat`."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of one example, prompt and answer apart.

    Attributes:
        example_id: the example it came from.
        prompt_ids: ids of the rendered prompt, start token included where the model has one.
        answer_ids: ids of the answer; the end token is the last one when it was asked for.
        other_ids: what the loss wants in the place of each answer token, while the model still
            reads the answer; empty: the answer itself.
        counted: which answer tokens take the loss; the model reads them all. Empty: all.
        weight: of the example's loss.
        reference: the reference model's last states where these tokens are predicted, (N, D), if
            they are known already.
        reference_nll: its cross-entropy of each answer token that takes the loss, (N,), if known.
        reference_top: the tokens that it finds most likely in their places, if known.
    """

    example_id: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    other_ids: tuple[int, ...] = ()
    counted: tuple[bool, ...] = ()
    weight: float = 1.0
    reference: torch.Tensor | None = field(default=None, compare=False, repr=False)
    reference_nll: torch.Tensor | None = field(default=None, compare=False, repr=False)
    reference_top: TopK | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        """Return the number of tokens of prompt and answer."""
        return len(self.prompt_ids) + len(self.answer_ids)

    def places(self) -> list[int]:
        """Return the places of the answer tokens that take the loss, from 0.

        >>> Encoded("a", (1,), (2, 3, 4), counted=(False, True, True)).places()
        [1, 2]
        """
        places = range(len(self.answer_ids))
        return list(itertools.compress(places, self.counted) if self.counted else places)

    def wanting(self, ids: Sequence[int]) -> Encoded:
        """Return the example with other tokens to want, repeated to fill the answer's places.

        >>> Encoded("a", (1,), (2, 3, 4)).wanting([7, 8]).other_ids
        (7, 8, 7)
        """
        size = len(self.answer_ids)
        return replace(self, other_ids=tuple(itertools.islice(itertools.cycle(ids), size)))


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, template: str) -> list[int]:
    """Return the ids of a prompt, in the chat template of the tokenizer or as plain text."""
    if template == "plain":
        return list(tokenizer(prompt).input_ids)
    if tokenizer.chat_template is None:
        return list(tokenizer(PLAIN_PAIR.format(prompt=prompt)).input_ids)
    messages = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def encode(
    tokenizer: PreTrainedTokenizerBase,
    example: PromptAnswer,
    *,
    max_tokens: int = 1024,
    with_end: bool = False,
    protected: Sequence[tuple[int, int]] = (),
) -> Encoded:
    """Encode one example.

    Args:
        tokenizer: of the target model.
        example: prompt, answer and template.
        max_tokens: most tokens of prompt and answer together; a prompt keeps its last half of
            them at most (and its start token), the answer what is left.
        with_end: add the end token to the answer (training on whole answers).
        protected: ranges of the answer, in code points, whose tokens take the loss; empty: all.
    """
    prompt_ids = render_prompt(tokenizer, example.prompt, example.template)
    answer = example.answer
    if example.template == "chat" and tokenizer.chat_template is None:
        answer = " " + answer.lstrip()
    answer_ids = list(tokenizer(answer, add_special_tokens=False).input_ids)
    added = [int(tokenizer.eos_token_id)] if with_end and tokenizer.eos_token_id is not None else []
    prompt_ids = shortened(prompt_ids, max(1, max_tokens // 2), tokenizer.bos_token_id)
    counted: list[bool] = []
    if protected:
        from forgetkit.lm.mask import protected_tokens

        moved = len(answer) - len(example.answer)
        ranges = [(start + moved, end + moved) for start, end in protected]
        counted = protected_tokens(tokenizer, answer, ranges)
        counted += [ranges[-1][1] >= len(answer)] * len(added)
    most = max_tokens - len(prompt_ids)
    return Encoded(
        example.example_id,
        tuple(prompt_ids),
        tuple((answer_ids + added)[:most]),
        counted=tuple(counted[:most]),
    )


def shortened(ids: list[int], most: int, start_id: int | None) -> list[int]:
    """Return the last ids of a prompt, at most so many, and its start token before them.

    >>> shortened([0, 5, 6, 7], 3, start_id=0)
    [0, 6, 7]
    """
    if len(ids) <= most:
        return ids
    if most > 1 and start_id is not None and ids[0] == start_id:
        return [start_id, *ids[1 - most :]]
    return ids[-most:]


def collate(encoded: Sequence[Encoded], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad a list of examples on the right and mark where answers are predicted.

    Returns:
        `input_ids` and `attention_mask` (B, T); `row`, `position`, `target`, `place` (N,), one
        entry an answer token that takes the loss: the hidden state at (row, position) predicts
        `target`, and `place` counts from the start of the answer; `length` (B,) such tokens per
        example; `weight` (B,) of each; `prompt` (B,), the first row with the same prompt, and
        `prompt_length` (B,).

    Raises:
        InputError: an example has no prompt token to predict the first answer token from.
    """
    import torch

    if any(not item.prompt_ids for item in encoded):
        raise InputError("an example has an empty prompt", mend="Give at least one prompt token.")
    width = max(len(item) for item in encoded)
    ids = torch.full((len(encoded), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(encoded), width), dtype=torch.long)
    row: list[int] = []
    position: list[int] = []
    target: list[int] = []
    place: list[int] = []
    length: list[int] = []
    prompts: dict[tuple[int, ...], int] = {}
    prompt = [prompts.setdefault(item.prompt_ids, n) for n, item in enumerate(encoded)]
    for index, item in enumerate(encoded):
        ids[index, : len(item)] = torch.tensor(item.prompt_ids + item.answer_ids)
        mask[index, : len(item)] = 1
        places, wanted = item.places(), item.other_ids or item.answer_ids
        row += [index] * len(places)
        position += [len(item.prompt_ids) - 1 + number for number in places]
        target += [wanted[number] for number in places]
        place += places
        length.append(len(places))
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "row": torch.tensor(row, dtype=torch.long),
        "position": torch.tensor(position, dtype=torch.long),
        "target": torch.tensor(target, dtype=torch.long),
        "place": torch.tensor(place, dtype=torch.long),
        "length": torch.tensor(length),
        "weight": torch.tensor([item.weight for item in encoded]),
        "prompt": torch.tensor(prompt),
        "prompt_length": torch.tensor([len(item.prompt_ids) for item in encoded]),
    }


def answer_hidden(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Run the layers, and keep the hidden states that predict answer tokens, (N, D)."""
    states = causal_model(model).get_decoder()(**model_inputs(batch)).last_hidden_state
    kept: torch.Tensor = states[batch["row"], batch["position"]]
    return kept


def model_inputs(batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return what the model's forward pass takes of a batch.

    Padding lies behind what is read and no state sees what comes after it, so it needs no mask;
    only rows that share a prompt do, which bring the places of their tokens too.
    """
    names = ("input_ids", "position_ids", "attention_mask" if "position_ids" in batch else "")
    return {name: batch[name] for name in names if name in batch} | {"use_cache": False}


def answer_logits(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the logits at answer positions, (N, V) in float32, as the whole model gives them.

    For heads that are trained, or more than a product (soft cap, scale, bias); `forgetkit.lm.head`
    serves the others without ever holding (N, V). Where the model allows it, its head runs only at
    positions that predict an answer token in some row.
    """
    import inspect

    import torch

    base, position = causal_model(model), batch["position"]
    inputs = model_inputs(batch)
    if "logits_to_keep" in inspect.signature(base.forward).parameters:
        places, position = torch.unique(position, return_inverse=True)
        inputs["logits_to_keep"] = places
    logits = base(**inputs).logits
    kept: torch.Tensor = logits[batch["row"], position].float()
    return kept


def answer_logits_of(
    language_model: LanguageModel, examples: Sequence[PromptAnswer]
) -> torch.Tensor:
    """Return the logits at the answer positions of a few examples, (N, V) in float32, on the CPU.

    Without gradient and without dropout, one example at a time: padding changes nothing.
    """
    import torch

    model, device = language_model.model, language_model.device
    pad_id = int(language_model.tokenizer.pad_token_id)
    was_training = model.training
    model.eval()
    found = []
    with torch.inference_mode():
        for example in examples:
            batch = collate([encode(language_model.tokenizer, example)], pad_id)
            on_device = {name: value.to(device) for name, value in batch.items()}
            found.append(answer_logits(model, on_device).cpu())
    model.train(was_training)
    return torch.cat(found) if found else torch.zeros(0, 0)


def head_weight(model: torch.nn.Module) -> torch.Tensor | None:
    """Return the head's weight (V, D) when logits are its product alone.

    None for soft-capped, scaled or biased heads.
    """
    base = causal_model(model)
    head = base.get_output_embeddings()
    changes = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")
    scaled = any(getattr(base.config, name, None) not in (None, 1, 1.0) for name in changes)
    plain = type(head).__name__ == "Linear" and head.bias is None
    if scaled or not plain:
        return None
    weight: torch.Tensor = head.weight
    return weight


def has_frozen_head(model: torch.nn.Module) -> bool:
    """Say whether logits are the product of a weight alone that is not trained."""
    weight = head_weight(model)
    return weight is not None and not weight.requires_grad


def causal_model(model: Any) -> Any:
    """Return the model itself, without the adapter's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def per_example(values: torch.Tensor, row: torch.Tensor, examples: int) -> torch.Tensor:
    """Sum values of answer tokens (N,) into their examples (B,)."""
    import torch

    total = torch.zeros(examples, dtype=values.dtype, device=values.device)
    return total.index_add(0, row, values)


def length_buckets(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Group indices into batches of similar length, at most `most_tokens` padded tokens each.

    >>> length_buckets([3, 9, 2], most_tokens=9)
    [[1], [0, 2]]
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for index in order:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= most_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


FORWARD_COST = 96
"""Padded tokens that a forward pass more must save on a CPU to be worth its overhead."""
LAUNCH_COST = 2048
"""The same on any other device, which waits for the launches of a short pass; not tuned."""


def like_lengths(lengths: Sequence[int], device: str = "cpu") -> list[list[int]]:
    """Group the rows of one batch so that padding is least, at a cost for each group.

    >>> like_lengths([5, 300, 7, 280])
    [[0, 2], [3, 1]]
    >>> like_lengths([5, 7, 9])
    [[0, 1, 2]]
    """
    price = FORWARD_COST if device == "cpu" else LAUNCH_COST
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    best = [0.0] + [float("inf")] * len(order)  # least cost of the first so many rows
    cut = [0] * (len(order) + 1)
    for last in range(1, len(order) + 1):
        longest = lengths[order[last - 1]]
        for first in range(last):
            cost = best[first] + (last - first) * longest + price
            if cost < best[last]:
                best[last], cut[last] = cost, first
    groups: list[list[int]] = []
    last = len(order)
    while last:
        groups.insert(0, order[cut[last] : last])
        last = cut[last]
    return groups if len(groups) > 1 else [list(range(len(lengths)))]


def select_rows(
    batch: Mapping[str, torch.Tensor], rows: torch.Tensor, width: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return some rows of a batch, cut to a width, and which answer tokens are theirs.

    Args:
        batch: as of `collate`.
        rows: rows to keep, (R,).
        width: columns to keep; at least the longest of the rows.
    """
    import torch

    new_row = torch.full((batch["input_ids"].shape[0],), -1, device=rows.device)
    new_row[rows] = torch.arange(len(rows), device=rows.device)
    row = new_row[batch["row"]]
    tokens = (row >= 0).nonzero().squeeze(1)
    part = {
        "input_ids": batch["input_ids"][rows, :width],
        "attention_mask": batch["attention_mask"][rows, :width],
        "row": row[tokens],
        "position": batch["position"][tokens],
    }
    return part, tokens
