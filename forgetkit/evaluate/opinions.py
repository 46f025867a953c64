"""What other models say of the continuations: the target model, the judge, the embedder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import FLUENT, JUDGED, Judge
from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL, Sample
from forgetkit.progress import Progress

if TYPE_CHECKING:
    from forgetkit.embed import Embedder
    from forgetkit.lm.load import LanguageModel


def add_fluency(
    target: LanguageModel, samples: Sequence[Sample], config: EvaluateConfig, progress: Progress
) -> None:
    """Score the continuations of forget, probes and holdout prompts under the target model.

    Most of its own have their scores since they were said. What the model after says to the holdout
    of texts is no yardstick of anything, and is not read.
    """
    from forgetkit.lm.score import score

    chosen = [s for s in samples if s.completion and s.split in FLUENT]
    chosen = [s for s in chosen if s.model != RETAIN_MODEL and s.fluency_nll is None]
    chosen = [
        s for s in chosen if s.model == BEFORE or s.split != "holdout" or s.example.kind != "text"
    ]
    progress.stage("fluency of the continuations", len(chosen))
    spoken = [replace(s.example, answer=s.completion or "") for s in chosen]
    scores = score(target, spoken, max_tokens=config.max_tokens, advance=progress.advance)
    for sample, found in zip(chosen, scores, strict=True):
        sample.fluency_nll = found.nll if found.log_probability else None


def add_labels(samples: Sequence[Sample], judge: Judge, progress: Progress) -> None:
    """Judge the continuations of pairs: comply, refuse or derail."""
    chosen = [s for s in samples if s.completion is not None and s.split in JUDGED]
    chosen = [s for s in chosen if s.example.kind == "pair"]
    progress.stage("judge the answers", len(chosen))
    labels = judge([s.example.prompt for s in chosen], [s.completion or "" for s in chosen])
    for sample, label in zip(chosen, labels, strict=True):
        sample.label = label
    progress.advance(len(chosen))


def add_similarity(samples: Sequence[Sample], embedder: Embedder, progress: Progress) -> None:
    """Compare continuations by sentence embedding.

    Those of forget, probe and holdout prompts with their answers; a right answer beside the wrong
    one (variant `truth` of the split `others`) with what the same model said to the same prompt;
    those of ordinary prompts with what the model before said.
    """
    pairs = _to_compare(samples)
    progress.stage("similarity of the continuations", len(pairs))
    texts = sorted({text for _, *both in pairs for text in both})
    vectors = dict(zip(texts, embedder.encode(texts), strict=True)) if texts else {}
    for sample, text, other in pairs:
        sample.similarity = float(vectors[text] @ vectors[other])
    progress.advance(len(pairs))


def _to_compare(samples: Sequence[Sample]) -> list[tuple[Sample, str, str]]:
    said = {
        (s.model, s.split == "retain", s.example.example_id): s.completion
        for s in samples
        if s.completion is not None
    }
    found: list[tuple[Sample, str, str]] = []
    for sample in samples:
        name, other = sample.example.example_id, sample.example.answer
        text = said.get((sample.model, False, name))
        if sample.example.variant == "truth":
            text = said.get((sample.model, False, sample.example.pair_of))
        elif sample.split == "retain" and sample.model == AFTER:
            text, other = said.get((BEFORE, True, name)), sample.completion or ""
        elif sample.split not in FLUENT:
            continue
        if text is not None:
            found.append((sample, text, other))
    return found
