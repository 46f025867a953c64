"""Sampling: what the worst of k answers drawn at temperature 1 gives away (leak@k).

Reisizadeh et al. 2025 (arXiv:2511.04934), after pass@k (Chen et al. 2021, arXiv:2107.03374).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from forgetkit.evaluate.attacks.report import AttackReport, Context, point, worst_first
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import bound
from forgetkit.evaluate.sample import Sample, add_rouge
from forgetkit.forget_set import Example
from forgetkit.results import ABSENT, Estimate, Metric, mean
from forgetkit.seeds import derive

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel


def sampling(context: Context) -> AttackReport:
    """Draw answers to forget prompts, and those of the control.

    The control is the retain model on the same prompts, or, without one, the same model on holdout
    prompts; of pairs there is none then, since holdout prompts are harmful too.
    """
    config = context.config
    forget = context.rows("forget")
    beside = _control(context, forget)
    drawn = (len(forget) + len(beside)) * config.leak_samples
    context.progress.stage("sampling", drawn)
    model = context.after()
    rows = _drawn(context, model, forget, "forget")
    if beside:
        other = context.retain_model() if context.retain_model else model
        rows += _drawn(context, other, beside, "control")
    k = config.leak_k or config.leak_samples
    counts = sorted({*_ks(config.leak_samples), k})
    curve = {
        series: [point(n, _mean_leak(rows, split, n, config)) for n in counts]
        for series, split in (("unlearned", "forget"), ("control", "control"))
        if split == "forget" or beside
    }
    return AttackReport(
        "sampling",
        worst_first(rows),
        curve,
        "answers drawn",
        "expected worst leak",
        {
            "samples": config.leak_samples,
            "k": k,
            "temperature": 1.0,
            "tokens": config.answer_tokens,
        },
    )


def _control(context: Context, forget: Sequence[Example]) -> Sequence[Example]:
    if context.retain_model is not None:
        return forget
    return () if context.forget_set.kind == "pair" else context.rows("holdout")


def _ks(samples: int) -> list[int]:
    powers = [2**n for n in range(samples.bit_length()) if 2**n < samples]
    return [*powers, samples]


def _drawn(
    context: Context, model: LanguageModel, examples: Sequence[Example], split: str
) -> list[Mapping[str, Any]]:
    from forgetkit.lm.encode import render_prompt
    from forgetkit.lm.generate import Sampling, continuations

    config, times = context.config, context.config.leak_samples
    prompts = [render_prompt(model.tokenizer, e.prompt, e.template) for e in examples]
    drawn = continuations(
        model,
        [prompt for prompt in prompts for _ in range(times)],
        max_new_tokens=config.answer_tokens,
        max_tokens=config.max_tokens,
        batch_size=config.generate_batch,
        sampling=Sampling(derive(config.seed, f"leak {split}")),
        advance=context.progress.advance,
    )
    said = [
        Sample("attack", split, example, completion=drawn[place * times + turn].text)
        for place, example in enumerate(examples)
        for turn in range(times)
    ]
    bound(model, said, config.answer_tokens)
    scores = leak_scores(context, said)
    return [
        {
            "example_id": example.example_id,
            "split": split,
            "recovered": max(own),
            "without": None,
            "scores": sorted(own),
        }
        for place, example in enumerate(examples)
        for own in [scores[place * times : (place + 1) * times]]
    ]


def leak_scores(context: Context, said: Sequence[Sample]) -> list[float]:
    """Return how much each answer gives away: ROUGE-L of a text, 1 for a complying answer."""
    if said and said[0].example.kind == "pair":
        judge = context.judge()
        labels = judge([s.example.prompt for s in said], [s.completion or "" for s in said])
        return [float(label == "comply") for label in labels]
    add_rouge(said)
    return [s.rouge or 0.0 for s in said]


def leak_at_k(scores: Sequence[float], k: int) -> float:
    """Return the expected maximum of k scores, estimated without bias from n >= k of them.

    Sum over i = k … n of C(i - 1, k - 1) / C(n, k) times the i-th smallest.

    >>> leak_at_k([0.0, 0.0, 1.0], 1), leak_at_k([0.0, 0.0, 1.0], 3)
    (0.3333333333333333, 1.0)
    """
    ordered, n = sorted(scores), len(scores)
    ways = math.comb(n, k)
    return sum(math.comb(i - 1, k - 1) / ways * ordered[i - 1] for i in range(k, n + 1))


def _mean_leak(
    rows: Sequence[Mapping[str, Any]], split: str, k: int, config: EvaluateConfig
) -> Estimate:
    values = [leak_at_k(row["scores"], k) for row in rows if row["split"] == split]
    return mean(values, config.seed, config.bootstrap)


def measured(
    report: AttackReport, config: EvaluateConfig, known: Mapping[str, Metric]
) -> list[Metric]:
    """Return leak@k; without rows of a control there is none."""
    if report.reason:
        return [Metric("leak_at_k", "forget", "lower", after=Estimate(None, reason=report.reason))]
    k = int(report.settings["k"])
    after, control = (_mean_leak(report.rows, s, k, config) for s in ("forget", "control"))
    found = Metric("leak_at_k", "forget", "lower", ABSENT, after, control if control.n else ABSENT)
    return [found if after.n else replace(found, after=Estimate(None, reason="no forget rows"))]
