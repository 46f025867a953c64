"""Rows end to end in one, without padding: on a CPU a token of padding costs as much as any other.

Linear layers and norms read all tokens of a pass as one row; attention alone runs row by row, each
seeing itself. Heads that share keys read them where they lie, and short rows take plain products:
the backward pass of the fused CPU kernel takes three times as long on rows of some 80 tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch

from forgetkit.lm.encode import Encoded, answer_hidden, causal_model, collate
from forgetkit.lm.shared import is_rounding, joined_rows, longest_shared

NAME = "forgetkit_packed"
SHORT = 256  # tokens; longer rows are faster, and need far less memory, with the fused kernel
Row = tuple[int, ...]
"""Tokens of a row; of one with several answers those of its prompt, and of each answer."""

Piece = tuple[int, int, torch.Tensor | None]
"""Tokens that attend together, those of a prompt that they see as well, and what is added to their
scores (T, P + T); None: each token sees those before."""

Met = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a pass, (K, T, D) each, layer by layer."""

_PIECES: ContextVar[Sequence[Piece]] = ContextVar("pieces")
_MET: ContextVar[Met | None] = ContextVar("met")
_TRIED: WeakKeyDictionary[torch.nn.Module, bool] = WeakKeyDictionary()


def pack(
    batch: Mapping[str, torch.Tensor], units: Sequence[Sequence[int]]
) -> tuple[dict[str, Any], torch.Tensor]:
    """Return rows of a batch as one row, and which answer tokens of the batch are theirs.

    Args:
        batch: as of `collate`.
        units: numbers of rows; those of one unit have one prompt, which is read once.

    Returns:
        `input_ids` and `position_ids` (1, T), `packed`, a `Row` for each unit, and `row` and
        `position` of the answer tokens, (N,).
    """
    lengths, shared = batch["attention_mask"].sum(1).tolist(), batch["prompt_length"].tolist()
    parts, tokens, rows = [], [], []
    start = 0
    for unit in units:
        part, own = joined_rows(batch, [unit], masked=False)
        rows.append(_row(unit, lengths, shared))
        parts.append(part | {"position": part["position"] + start})
        tokens.append(own)
        start += sum(rows[-1])
    packed: dict[str, Any] = {
        name: torch.cat([part[name] for part in parts], 1) for name in ("input_ids", "position_ids")
    }
    found = torch.cat(tokens)
    order = found.argsort()
    for name in ("row", "position"):
        packed[name] = torch.cat([part[name] for part in parts])[order]
    return packed | {"packed": rows}, found[order]


@contextlib.contextmanager
def packed_attention(
    model: torch.nn.Module, rows: Sequence[Row], met: Met | None = None
) -> Iterator[None]:
    """Let attention run row by row for a while; the backward pass needs no such block.

    Args:
        model: see `can_pack`.
        rows: of the pass.
        met: takes its keys and values.
    """
    token = _PIECES.set([piece for row in rows for piece in _pieces(row)])
    kept = _MET.set(met)
    try:
        with attention_named(model, NAME, attention):
            yield
    finally:
        _PIECES.reset(token)
        _MET.reset(kept)


@contextlib.contextmanager
def attention_named(
    model: torch.nn.Module, name: str, function: Callable[..., Any]
) -> Iterator[None]:
    """Let a model's layers call another attention for a while."""
    from transformers import AttentionInterface

    AttentionInterface.register(name, function)
    config = causal_model(model).config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def _row(unit: Sequence[int], lengths: Sequence[int], shared: Sequence[int]) -> Row:
    """Return a unit of rows as one.

    >>> _row([0, 1], [5, 6], [3, 3]), _row([1], [5, 6], [3, 3])
    ((3, 2, 3), (6,))
    """
    prompt = shared[unit[0]]
    answers = tuple(lengths[row] - prompt for row in unit)
    return (prompt, *answers) if len(unit) > 1 else (prompt + answers[0],)


def _pieces(row: Row) -> list[Piece]:
    """Cut a row: prompt and first answer, then each other answer, which sees the prompt."""
    whole, others = sum(row[:2]), row[2:]
    return [
        (whole, 0, _causal(whole) if whole <= SHORT else None),
        *((answer, row[0], _causal(answer, row[0])) for answer in others if answer),
    ]


def _causal(size: int, before: int = 0) -> torch.Tensor:
    return torch.full((size, before + size), -torch.inf).triu_(1 + before)


def attention(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Return (1, T, H, D) from query (1, H, T, D) and key and value (1, K, T, D) of packed rows.

    Raises:
        ValueError: the attention is more than a softmax of scaled products.
    """
    if any(named.get(name) is not None for name in ("softcap", "s_aux", "position_bias")):
        raise ValueError("packed rows take plain attention")
    pieces, met = _PIECES.get(), _MET.get()
    if met is not None:
        met.append((key[0], value[0]))
    sizes = [size for size, _, _ in pieces]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    found, prompt = [], (key[0], value[0])
    split = (torch.split(part[0], sizes, 1) for part in (query, key, value))
    for (_, before, mask), asked, keys, values in zip(pieces, *split, strict=True):
        if before:
            first_keys, first_values = (part[:, :before] for part in prompt)
            keys, values = torch.cat([first_keys, keys], 1), torch.cat([first_values, values], 1)
        else:
            prompt = keys, values
        found.append(_one(asked, keys, values, mask, scale, dropout))
    return torch.cat(found)[None], None


def _one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    dropout: float,
) -> torch.Tensor:
    """Return (T, H, D) from query (H, T, D) and key and value (K, P + T, D) of one piece."""
    heads, size, width = query.shape
    shared = len(key)
    times = heads // shared  # query heads that read one head of keys
    if mask is None or key.shape[1] > SHORT:
        whole = torch.nn.functional.scaled_dot_product_attention(
            query[None],
            key[None],
            value[None],
            mask if mask is None else mask.to(query.dtype),
            dropout_p=dropout,
            is_causal=mask is None,
            scale=scale,
            enable_gqa=times > 1,
        )
        return whole[0].transpose(0, 1)
    asked = query.reshape(shared, times * size, width)
    mask = mask.to(query.dtype).repeat(times, 1)
    scores = torch.baddbmm(mask, asked, key.transpose(1, 2), alpha=scale)
    shares = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    if dropout:
        shares = torch.nn.functional.dropout(shares, dropout)
    read = torch.bmm(shares, value).view(shared, times, size, width)
    return read.permute(2, 0, 1, 3).reshape(size, heads, width)


def packs(model: torch.nn.Module, longest: int) -> bool:
    """Say whether rows of at most so many tokens are read packed: on a CPU, where the model can."""
    most = longest_shared(model)
    on_cpu = next(model.parameters()).device.type == "cpu"
    return on_cpu and (most is None or longest <= most) and can_pack(model)


def like_prompts(rows: Sequence[Encoded], most_tokens: int) -> list[list[int]]:
    """Group numbers of rows into passes of some `most_tokens`, rows with one prompt together.

    >>> like_prompts([Encoded("", (n,), (3, 4)) for n in (1, 2, 1, 2)], most_tokens=6)
    [[0, 2], [1, 3]]
    """
    first: dict[tuple[int, ...], int] = {}
    for number, row in enumerate(rows):
        first.setdefault(row.prompt_ids, number)
    order = sorted(range(len(rows)), key=lambda number: first[rows[number].prompt_ids])
    total = sum(map(len, rows))
    groups: list[list[int]] = [[] for _ in range(-(-total // most_tokens))]
    before = 0
    for number in order:
        groups[before * len(groups) // total].append(number)
        before += len(rows[number])
    return [group for group in groups if group]


def can_pack(model: torch.nn.Module) -> bool:
    """Say whether packed rows give the states of separate ones; the model is tried once.

    Recurrent layers, attention with a cap or with sinks, and models that do not ask for the
    attention by name do not.
    """
    base = causal_model(model)
    if base not in _TRIED:
        _TRIED[base] = _tried(model)
    return _TRIED[base]


def _tried(model: torch.nn.Module) -> bool:
    rows = [Encoded("", (1, 2, 3), (4, 5, 6)), Encoded("", (7, 8), (9, 1, 2))]
    batch = collate(rows, 0)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            apart = answer_hidden(model, batch)
            part, _ = pack(batch, [[0], [1]])
            with packed_attention(model, part["packed"]):
                together = answer_hidden(model, part)
            size = int(part["input_ids"].shape[1])
            with packed_attention(model, [(size,)]):
                mixed = answer_hidden(model, part)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError, AssertionError):
        return False  # an architecture that refuses one of these, in its own way
    finally:
        model.train(was_training)
    return is_rounding(together - apart, mixed - apart)
