"""Other answers that the target model itself gives to the forget prompts: for the method `altpo`.

Mekala et al. 2024 (arXiv:2409.13474) train towards plausible alternatives of the model's own. A
model that knows a text by heart recites it under any sampling, so the first token of an answer is
drawn from its distribution without the true one; what comes back to the truth all the same is
drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.mismatch import MOST_LIKE, other_answer, shares_words
from forgetkit.build.overlap import Encode
from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.progress import Progress
from forgetkit.seeds import derive, generator

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel

ROUNDS = 16
"""Times that a prompt is asked again, at a rising temperature, for an answer unlike the truth."""
_PER_PASS = 32
_STEP, _STEPS = 0.15, 8  # of the temperature, which then starts again
FIRST = 64
"""Likeliest first tokens that one is drawn from."""


class FirstTokens(NamedTuple):
    """First tokens of an answer, with their shares, which add up to 1."""

    tokens: list[int]
    shares: list[float]


def sampled_alternatives(
    language_model: LanguageModel,
    forget: Sequence[Example],
    config: BuildConfig,
    *,
    encode: Encode | None,
    books: Books,
    progress: Progress,
) -> list[Example]:
    """Draw K other answers a forget prompt from the model, each checked against the true one.

    The same seed, model and machine give the same answers.

    Args:
        language_model: the target model.
        forget: the examples whose answers are the truth.
        config: K, the seed, and the most tokens of an answer.
        encode: turns texts into vectors of length 1; None compares words alone.
        books: told how many draws were near the truth.
        progress: told of every draw.

    Raises:
        InputError: some prompt got no answer unlike the true one.
    """
    first = _first_tokens(language_model, forget)
    kept: list[list[str]] = [[] for _ in forget]
    for attempt in range(ROUNDS * config.mismatch_answers):
        open_rows = [n for n, said in enumerate(kept) if len(said) < config.mismatch_answers]
        if not open_rows:
            break
        progress.stage("other answers of the model", len(open_rows))
        asked = [forget[n] for n in open_rows]
        drawn = _draw(
            language_model, asked, [first[n] for n in open_rows], config, attempt, progress
        )
        good = _unlike(asked, drawn, encode)
        books.count("sampled alternatives near the true answer", good.count(False))
        for row, answer, is_good in zip(open_rows, drawn, good, strict=True):
            if is_good and answer not in kept[row]:
                kept[row].append(answer)
    missing = [example for example, said in zip(forget, kept, strict=True) if not said]
    if missing:
        raise InputError(
            "the model gives no answer unlike the true one",
            where=missing[0].example_id,
            found=f"{len(missing)} of {len(forget)} prompts without",
            mend="Give --alternatives of your own, or another --mismatch.",
        )
    return [
        other_answer(example, answer, "alternative", number)
        for example, said in zip(forget, kept, strict=True)
        for number, answer in enumerate(said)
    ]


def _first_tokens(language_model: LanguageModel, forget: Sequence[Example]) -> list[FirstTokens]:
    """Return the likeliest first tokens of each answer without the true one."""
    import torch

    from forgetkit.lm.encode import answer_logits, collate, encode

    ids = [encode(language_model.tokenizer, e, max_tokens=2**30) for e in forget]
    found: list[FirstTokens] = []
    pad_id = int(language_model.tokenizer.pad_token_id)
    with torch.inference_mode():
        for start in range(0, len(ids), _PER_PASS):
            group = [
                replace(item, answer_ids=item.answer_ids[:1])
                for item in ids[start : start + _PER_PASS]
            ]
            batch = collate(group, pad_id)
            batch = {name: tensor.to(language_model.device) for name, tensor in batch.items()}
            logits = answer_logits(language_model.model, batch).double()
            logits.scatter_(1, batch["target"][:, None], float("-inf"))
            top = logits.topk(min(FIRST, logits.shape[1] - 1), dim=1)
            shares = top.values.softmax(1).tolist()
            found += [FirstTokens(*pair) for pair in zip(top.indices.tolist(), shares, strict=True)]
    return found


def _draw(
    language_model: LanguageModel,
    asked: Sequence[Example],
    first: Sequence[FirstTokens],
    config: BuildConfig,
    attempt: int,
    progress: Progress,
) -> list[str]:
    """Draw one answer a prompt: another first token, then what the model says after it."""
    from forgetkit.lm.encode import render_prompt
    from forgetkit.lm.generate import Sampling, continuations

    tokenizer = language_model.tokenizer
    rng = generator(config.seed, f"alternative {attempt}")
    tokens = [int(rng.choice(one.tokens, p=one.shares)) for one in first]
    sampling = Sampling(
        derive(config.seed, f"alternative tokens {attempt}"), 1.0 + _STEP * (attempt % _STEPS)
    )
    longest = max(len(tokenizer(e.answer).input_ids) for e in asked)
    said = continuations(
        language_model,
        [
            [*render_prompt(tokenizer, e.prompt, e.template), token]
            for e, token in zip(asked, tokens, strict=True)
        ],
        max_new_tokens=min(longest, config.answer_tokens),
        sampling=sampling,
        advance=progress.advance,
    )
    begun = (tokenizer.decode([token], skip_special_tokens=True) for token in tokens)
    return [
        " ".join(f"{a}{b.text}".split()) if e.kind == "text" else f"{a}{b.text}".strip()
        for e, a, b in zip(asked, begun, said, strict=True)
    ]


def _unlike(asked: Sequence[Example], drawn: Sequence[str], encode: Encode | None) -> list[bool]:
    """Say which answers say something, and something else than the true ones."""
    good = [
        bool(answer) and not shares_words(answer, example.answer)
        for example, answer in zip(asked, drawn, strict=True)
    ]
    if encode is not None:
        cosines = (encode([e.answer for e in asked]) * encode(drawn)).sum(axis=1)
        good = [
            one and float(cosine) <= MOST_LIKE for one, cosine in zip(good, cosines, strict=True)
        ]
    return good
