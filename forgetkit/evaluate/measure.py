"""Read every split once with one model, and generate only where text is needed.

The rows are what every number is computed from; they become `samples.parquet`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.parts import Parts
from forgetkit.evaluate.sample import BEFORE, RETAIN_MODEL, Sample
from forgetkit.evaluate.words import pieces
from forgetkit.forget_set import Example, ForgetSet
from forgetkit.lm.kept import Kept
from forgetkit.progress import Progress

if TYPE_CHECKING:
    from forgetkit.lm.common import CommonLayers
    from forgetkit.lm.load import LanguageModel

Judge = Callable[[Sequence[str], Sequence[str]], list[str]]
Opener = Callable[[], "LanguageModel"]

GENERATED = ("forget", "prompts", "holdout", "retain")
FLUENT = ("forget", "prompts", "holdout")
JUDGED = ("forget", "holdout", "retain")
ALONE = 256
"""Rows from which a split is a unit of its own: below, splits share batches and are one unit."""


def splits_to_read(forget_set: ForgetSet) -> dict[str, Sequence[Example]]:
    """Return the splits that evaluation reads, by the name they have in results.

    Other answers are the probes `others`, or else the alternatives of the mismatch split.
    """
    alternatives = [
        replace(e, variant="perturbed")
        for e in forget_set.splits["mismatch"]
        if e.variant == "alternative" and e.pair_of
    ]
    chosen = {
        "forget": forget_set.splits["forget"],
        "prompts": forget_set.probes.get("prompts", ()),
        "holdout": forget_set.splits["holdout"],
        "others": forget_set.probes.get("others") or alternatives,
        "retain": forget_set.probes.get("retain", ()),
        "general": forget_set.probes.get("general", ()),
    }
    return {name: rows for name, rows in chosen.items() if rows}


def forget_alone(forget_set: ForgetSet) -> ForgetSet:
    """Return the set with nothing to read but its forget split."""
    splits: dict[str, Sequence[Example]] = dict.fromkeys(forget_set.splits, ())
    splits["forget"] = forget_set.splits["forget"]
    return replace(forget_set, splits=splits, probes={})


def units(splits: Mapping[str, Sequence[Example]]) -> dict[str, list[str]]:
    """Group the splits into what is measured, and resumed, as one.

    >>> units({"forget": [1] * 40, "holdout": [1] * 300, "retain": [1]})
    {'forget': ['forget'], 'holdout': ['holdout'], 'retain': ['retain']}
    """
    found: dict[str, list[str]] = {}
    for name, rows in splits.items():
        small = len(rows) < ALONE and name not in ("retain", "general")
        found.setdefault("forget" if small else name, []).append(name)
    return found


def measure(
    open_model: Opener,
    forget_set: ForgetSet,
    role: str,
    config: EvaluateConfig,
    progress: Progress,
    parts: Parts,
    common: CommonLayers | None = None,
) -> list[Sample]:
    """Score every split, and continue the prompts of forget, its probes, holdout and retain.

    Args:
        open_model: loads the model; not called when every unit was measured before.
        forget_set: what to read.
        role: before, after or retain_model.
        config: settings.
        progress: told of each pass.
        parts: units that an interrupted run left, and where new ones are kept.
        common: layers that the models before and after have in common.
    """
    splits = splits_to_read(forget_set)
    both = (len(splits.get("forget", ())), len(splits.get("holdout", ())))
    spread = min(both) >= config.least_membership
    progress.stage(f"read every split ({role})", sum(map(len, splits.values())))
    measured: dict[str, list[Sample]] = {}
    prompts = Kept()
    for name, held in units(splits).items():
        kept = parts.load(f"{role}-said-{name}") or parts.load(f"{role}-read-{name}")
        if kept is None:
            kept = [Sample(role, split, e) for split in held for e in splits[split]]
            wide = spread and name in ("forget", "holdout")
            keep = prompts if any(_is_continued(split, role) for split in held) else None
            _read(open_model(), kept, config, wide, keep, common, progress)
            parts.save(f"{role}-read-{name}", kept)
        else:
            progress.advance(len(kept))
        measured[name] = kept
    _continue(open_model, measured, prompts, config, role, progress, parts)
    return [sample for kept in measured.values() for sample in kept]


def _read(
    language_model: LanguageModel,
    samples: Sequence[Sample],
    config: EvaluateConfig,
    spread: bool,
    keep: Kept | None,
    common: CommonLayers | None,
    progress: Progress,
) -> None:
    from forgetkit.lm.score import score

    with_answer = [s for s in samples if s.example.answer]
    scores = score(
        language_model,
        [s.example for s in with_answer],
        max_tokens=config.max_tokens,
        spread=spread,
        keep=keep,
        common=common,
        advance=progress.advance,
    )
    for sample, found in zip(with_answer, scores, strict=True):
        sample.log_probability, sample.argmax_hit = found.log_probability, found.argmax_hit
        sample.mean, sample.deviation = found.mean, found.deviation
        sample.answer_tokens = len(found.argmax_hit)


def _is_continued(split: str, role: str) -> bool:
    return split in GENERATED and (split != "retain" or role != RETAIN_MODEL)


def _continue(
    open_model: Opener,
    measured: Mapping[str, list[Sample]],
    prompts: Kept,
    config: EvaluateConfig,
    role: str,
    progress: Progress,
    parts: Parts,
) -> None:
    for retain in (False, True) if role != RETAIN_MODEL else (False,):
        chosen = {
            name: [s for s in kept if s.split in GENERATED and (s.split == "retain") is retain]
            for name, kept in measured.items()
        }
        words = "continue retain prompts" if retain else "continue forget prompts"
        progress.stage(f"{words} ({role})", sum(map(len, chosen.values())))
        tokens = config.retain_answer_tokens if retain else config.answer_tokens
        for name, samples in chosen.items():
            if samples and samples[0].completion is None:
                say(open_model(), samples, tokens, config, progress, prompts)
                parts.save(f"{role}-said-{name}", measured[name])
            else:
                progress.advance(len(samples))


def say(
    language_model: LanguageModel,
    samples: Sequence[Sample],
    tokens: int,
    config: EvaluateConfig,
    progress: Progress,
    kept: Kept | None = None,
) -> None:
    """Continue each sample's prompt greedily; fills `completion`, `common_run`; calls `bound`.

    What the target model itself says has its `fluency_nll` from here, where reading the text would
    give the same tokens; a text that lost some, or is cut otherwise, is read later like the others.
    """
    from forgetkit.lm.encode import encode, render_prompt
    from forgetkit.lm.generate import continuations

    tokenizer = language_model.tokenizer
    said = continuations(
        language_model,
        [render_prompt(tokenizer, s.example.prompt, s.example.template) for s in samples],
        max_new_tokens=tokens,
        max_tokens=config.max_tokens,
        batch_size=config.generate_batch,
        kept=kept,
        advance=progress.advance,
    )
    bound(language_model, samples, tokens)
    for sample, continuation in zip(samples, said, strict=True):
        sample.completion = continuation.text
        sample.common_run = run_of(language_model, continuation.text, sample.example.answer)
        if sample.model == BEFORE and sample.split in FLUENT and continuation.text:
            spoken = replace(sample.example, answer=continuation.text)
            if encode(tokenizer, spoken).answer_ids == continuation.ids:
                sample.fluency_nll = continuation.nll


def bound(language_model: LanguageModel, samples: Sequence[Sample], tokens: int) -> None:
    """Note how much of each answer a continuation of so many tokens can hold.

    A leak of a long answer is looked for in that much of it; the rest could not have been said.
    """
    tokenizer = language_model.tokenizer
    for sample in samples:
        ids = tokenizer(sample.example.answer, add_special_tokens=False).input_ids
        sample.answer_tokens = min(sample.answer_tokens or len(ids), tokens)
        if len(ids) > tokens:
            sample.answer_words = max(1, len(pieces(tokenizer.decode(ids[:tokens]))))


def run_of(language_model: LanguageModel, said: str, answer: str) -> int:
    """Return the longest run of tokens that an answer shares with as much of a continuation."""
    tokenizer = language_model.tokenizer
    true = tokenizer(answer, add_special_tokens=False).input_ids
    ids = tokenizer(said, add_special_tokens=False).input_ids[: max(len(true), 1)]
    return longest_common_run(ids, true)


def longest_common_run(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the length of the longest run of tokens that two sequences share.

    >>> longest_common_run([1, 2, 3, 9], [7, 2, 3, 8])
    2
    """
    best, before = 0, [0] * (len(right) + 1)
    for a in left:
        now = [0] * (len(right) + 1)
        for column, b in enumerate(right, 1):
            if a == b:
                now[column] = before[column - 1] + 1
                best = max(best, now[column])
        before = now
    return best
