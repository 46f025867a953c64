"""Prompts read once: several answers to one prompt stand in one row, and none sees another.

A method that gives a prompt K other answers would read the prompt K + 1 times. Here the answers
follow each other behind it; a mask lets each see the prompt and itself, and the places are counted
as if it stood alone, so that the states are those of separate rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from forgetkit.lm.encode import causal_model

if TYPE_CHECKING:
    import torch

_TRIED: WeakKeyDictionary[torch.nn.Module, bool] = WeakKeyDictionary()
PAIRS_COST = 6
"""A token's products in a layer cost some 6 D times as much as one pair of its attention."""
LEAST = 16
"""Tokens of a prompt from which on the mask is worth it; texts often share their first word."""
CLEARLY = 0.25
"""Share of what the answers would do to each other unmasked that may come of rounding, by means.

In bfloat16 that is .07 of SmolLM2's, and by the farthest value .13; a model that does not heed the
mask has 1.
"""


def rows_by_prompt(
    batch: Mapping[str, torch.Tensor], width: int, longest: int | None, *, masked: bool = True
) -> list[list[int]]:
    """Put rows that have their prompt in common together, as long as each more saves work.

    Args:
        batch: as of `collate`.
        width: of the model's states, D.
        longest: tokens of a joined row at most; None: any number.
        masked: answers to one prompt are kept apart by a mask, whose pairs cost; they need none
            where each attends for itself (`packed`).

    Returns:
        Numbers of rows, in order of the first of each group.
    """
    prompts, shared = batch["prompt"].tolist(), batch["prompt_length"].tolist()
    lengths = batch["attention_mask"].sum(1).tolist()
    groups: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(row)
    found: list[list[int]] = []
    for rows in groups.values():
        joined = [rows[0]]
        for row in rows[1:]:
            size = joined_length(joined, lengths, shared)
            after = size + lengths[row] - shared[row]
            more = after**2 - size**2 - lengths[row] ** 2 if masked else 0
            is_worth = shared[row] >= LEAST and shared[row] * PAIRS_COST * width > more
            if is_worth and (longest is None or after <= longest):
                joined.append(row)
            else:
                found.append(joined)
                joined = [row]
        found.append(joined)
    return sorted(found)


def joined_length(rows: Sequence[int], lengths: Sequence[int], shared: Sequence[int]) -> int:
    """Return the tokens of some rows with their prompt once.

    >>> joined_length([0, 1], [5, 6], [3, 3])
    8
    """
    return sum(lengths[row] - shared[row] for row in rows) + shared[rows[0]]


def joined_rows(
    batch: Mapping[str, torch.Tensor], groups: Sequence[Sequence[int]], *, masked: bool = True
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return groups of rows as one row each, and which answer tokens of the batch are theirs.

    Args:
        batch: as of `collate`.
        groups: numbers of rows; those of one group have one prompt.
        masked: as of `rows_by_prompt`.

    Returns:
        `input_ids` and `position_ids` (G, T), `row` and `position` of the answer tokens, (N,), and
        if `masked` `attention_mask` (G, 1, T, T), true where the first place sees the second.
    """
    import torch

    ids, device = batch["input_ids"], batch["input_ids"].device
    shared = batch["prompt_length"].tolist()
    lengths = batch["attention_mask"].sum(1).tolist()
    size = max(joined_length(rows, lengths, shared) for rows in groups)
    joined = torch.zeros((len(groups), size), dtype=torch.long, device=device)
    places = torch.zeros_like(joined)
    segment = torch.full_like(joined, -1)  # of padding; the prompt's is 0
    new_row = torch.full((len(ids),), -1, device=device)
    moved = torch.zeros(len(ids), dtype=torch.long, device=device)
    for number, rows in enumerate(groups):
        prompt = shared[rows[0]]
        joined[number, :prompt] = ids[rows[0], :prompt]
        places[number, :prompt] = torch.arange(prompt, device=device)
        segment[number, :prompt] = 0
        end = prompt
        for answer, row in enumerate(rows, 1):
            length = lengths[row] - prompt
            joined[number, end : end + length] = ids[row, prompt : lengths[row]]
            places[number, end : end + length] = torch.arange(prompt, lengths[row], device=device)
            segment[number, end : end + length] = answer
            new_row[row], moved[row] = number, end - prompt
            end += length
    tokens = (new_row[batch["row"]] >= 0).nonzero().squeeze(1)
    own, position = batch["row"][tokens], batch["position"][tokens]
    behind = position >= batch["prompt_length"][own]  # the first token is told by the prompt's last
    part = {
        "input_ids": joined,
        "position_ids": places,
        "row": new_row[own],
        "position": position + moved[own] * behind,
    }
    if masked:
        same = segment[:, :, None] == segment[:, None, :]
        part["attention_mask"] = (same | (segment[:, None, :] == 0)).tril()[:, None]
    return part, tokens


def can_share(model: torch.nn.Module) -> bool:
    """Say whether joined rows give the states of separate ones; the model is tried once.

    Recurrent layers, positions that are no argument, and some attention kernels do not heed the
    mask or the places.
    """
    base = causal_model(model)
    if base not in _TRIED:
        _TRIED[base] = _tried(model)
    return _TRIED[base]


def longest_shared(model: torch.nn.Module) -> int | None:
    """Return how long a joined row may be: as long as a sliding window; None without one."""
    window = getattr(causal_model(model).config.get_text_config(), "sliding_window", None)
    return int(window) if window else None


def _tried(model: torch.nn.Module) -> bool:
    import torch

    from forgetkit.lm.encode import Encoded, answer_hidden, collate

    device = next(model.parameters()).device
    first, second = (Encoded("", (1, 2, 3), answer) for answer in ((4, 5, 6), (7, 8, 9)))
    batch = {name: value.to(device) for name, value in collate([first, second], 0).items()}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            apart = answer_hidden(model, batch)
            part, _ = joined_rows(batch, [[0, 1]])
            together = answer_hidden(model, part)
            size = part["input_ids"].shape[1]
            all_seen = torch.ones((1, 1, size, size), dtype=torch.bool, device=device).tril()
            mixed = answer_hidden(model, part | {"attention_mask": all_seen})
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError, AssertionError):
        return False  # an architecture that refuses the mask or the places, in its own way
    finally:
        model.train(was_training)
    return is_rounding(together - apart, mixed - apart)


def is_rounding(found: torch.Tensor, unmasked: torch.Tensor) -> bool:
    """Say whether differences are small beside those that no mask would have led to."""
    return float(found.float().abs().mean()) < CLEARLY * float(unmasked.float().abs().mean())
