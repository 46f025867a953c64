"""Evaluate a served model: what it says, and nothing of its likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import GENERATED, longest_common_run, splits_to_read
from forgetkit.evaluate.parts import Parts
from forgetkit.evaluate.sample import AFTER, Sample
from forgetkit.evaluate.words import pieces
from forgetkit.forget_set import ForgetSet
from forgetkit.lm.endpoint import Endpoint
from forgetkit.progress import Progress
from forgetkit.results import Metric

NO_LIKELIHOODS = "an endpoint gives no likelihoods"
_OF_TEXT = (
    "leak_rate",
    "harmful_rate",
    "derail_rate",
    "refusal_rate",
    "hallucination_rate",
    "similarity",
    "fluency",
    "diversity",
    "empty_rate",
    "utility_answers",
    "muse_",
    "semeval_aggregate",
)


def measure_served(
    endpoint: Endpoint,
    forget_set: ForgetSet,
    config: EvaluateConfig,
    progress: Progress,
    parts: Parts,
) -> list[Sample]:
    """Ask for an answer to every prompt; common runs are counted in words.

    A split that was finished before an interruption is not asked again.
    """
    splits = {n: r for n, r in splits_to_read(forget_set).items() if n in GENERATED}
    progress.stage("ask the endpoint", sum(map(len, splits.values())))
    found: list[Sample] = []
    for name, rows in splits.items():
        samples = parts.load(f"served-{name}")
        if samples is None:
            samples = [Sample(AFTER, name, example) for example in rows]
            tokens = config.retain_answer_tokens if name == "retain" else config.answer_tokens
            for sample in samples:
                _ask(endpoint, sample, tokens)
                progress.advance()
            parts.save(f"served-{name}", samples)
        else:
            progress.advance(len(samples))
        found += samples
    return found


def _ask(endpoint: Endpoint, sample: Sample, tokens: int) -> None:
    example = sample.example
    sample.completion = endpoint.say(example.prompt, example.template, tokens)
    places: dict[str, int] = {}
    true, said = (
        [places.setdefault(word, len(places)) for word in pieces(text)]
        for text in (example.answer, sample.completion)
    )
    sample.answer_tokens = min(len(true), tokens)  # a word is at least a token
    sample.answer_words = tokens if len(true) > tokens else 0
    sample.common_run = longest_common_run(said[: max(len(true), 1)], true)


def explained(metrics: Sequence[Metric]) -> list[Metric]:
    """Say of each null that needs likelihoods why it is null."""
    return [
        replace(m, after=replace(m.after, reason=NO_LIKELIHOODS))
        if m.after.value is None and not m.name.startswith(_OF_TEXT)
        else m
        for m in metrics
    ]
