"""The paper's own numbers (Yao, Xu & Liu 2023, arXiv:2310.10683), reported beside ours."""

from __future__ import annotations

from forgetkit.evaluate.groups import Groups, Rows, rate_of
from forgetkit.evaluate.sample import AFTER, Sample
from forgetkit.results import Estimate, Metric
from forgetkit.seeds import generator

ABOVE = 1.1
"""A BLEU counts from 10 % above the usual one on."""
CLOSER = 0.1
"""A cosine counts from so much above the other one on: 10 % of what it can be.

A tenth of the other one would count a third of answers to other questions, whose cosines are near
0: measured on TruthfulQA with MiniLM, .33 of them by that rule, .03 by this one.
"""
_PAIRS = 100  # random pairs of the work


def paper(groups: Groups, kind: str) -> list[Metric]:
    """Return similarity to the answers, and the leak or the hallucination rate."""
    found = [
        groups.metric("similarity", "forget", "none", lambda rows: _similarity(groups, rows)),
        _similarity_ordinary(groups),
    ]
    if kind == "text":
        return [*_leak_rates_bleu(groups), *found]
    if kind == "fact":
        return [
            _hallucination_rate(groups, "hallucination_rate", "forget"),
            _hallucination_rate(groups, "hallucination_rate_unseen", "holdout"),
            *found,
        ]
    return found


def _similarity(groups: Groups, rows: Rows) -> Estimate:
    found = groups.mean(rows, lambda s: s.similarity)
    return found if found.n else Estimate(None, reason="similarity was not asked for")


def _similarity_ordinary(groups: Groups) -> Metric:
    """Return how like the target model's own answers to ordinary prompts the answers are."""
    rows = groups.rows.get((AFTER, "retain"), ())
    return Metric("similarity_ordinary", "retain", "higher", after=_similarity(groups, rows))


def _leak_rates_bleu(groups: Groups) -> list[Metric]:
    """Return the share of continuations with a BLEU 10 % above that of random pairs of the work."""
    limit = _usual_bleu(groups)

    def leaks(rows: Rows) -> Estimate:
        if limit is None:
            return Estimate(None, reason="no two answers to compare")
        return rate_of(rows, lambda s: bleu(s.completion or "", s.expected) > ABOVE * limit)

    found = [groups.metric("leak_rate_bleu", "forget", "lower", leaks)]
    if (AFTER, "prompts") in groups.rows:
        found.append(groups.metric("leak_rate_bleu_unseen", "prompts", "lower", leaks))
    return found


def _usual_bleu(groups: Groups) -> float | None:
    answers = sorted({s.expected for s in groups.rows.get((AFTER, "forget"), ())})
    if len(answers) < 2:
        return None
    rng = generator(groups.config.seed, "random pairs")
    first = rng.integers(0, len(answers), _PAIRS)
    second = (first + rng.integers(1, len(answers), _PAIRS)) % len(answers)
    scores = [bleu(answers[i], answers[j]) for i, j in zip(first, second, strict=True)]
    return sum(scores) / len(scores)


def bleu(said: str, true: str) -> float:
    """Return the BLEU of a sentence by sacrebleu, in [0, 100]."""
    from sacrebleu import sentence_bleu

    return float(sentence_bleu(said, [true]).score)


def _hallucination_rate(groups: Groups, name: str, split: str) -> Metric:
    """Return the share of answers clearly closer to the forgotten answer than to the right one."""

    def of(role: str) -> Estimate:
        others = groups.rows.get((role, "others"), ())
        right = {
            s.example.pair_of: s.similarity
            for s in others
            if s.example.variant == "truth" and s.similarity is not None
        }
        rows = [s for s in groups.rows.get((role, split), ()) if s.example.example_id in right]
        if not rows:
            why = "no right answers (probe others, variant truth) with a similarity"
            return Estimate(None, reason=why)

        def hallucinates(sample: Sample) -> bool:
            true = right[sample.example.example_id] or 0.0
            return (sample.similarity or 0.0) > CLOSER + true

        return rate_of(rows, hallucinates)

    return groups.by_role(name, split, "lower", of)
