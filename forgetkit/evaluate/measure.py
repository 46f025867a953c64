"""Read every split once with one model, and generate only where text is needed.

The rows are what every number is computed from; they become `samples.parquet`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.forget_set import Example, ForgetSet
from forgetkit.progress import Progress

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel

Judge = Callable[[Sequence[str], Sequence[str]], list[str]]


@dataclass
class Sample:
    """What one model does with one example.

    Attributes:
        model: before or after.
        split: forget, prompts, holdout, retain or general.
        example: the example.
        log_probability: of each answer token, in nats.
        argmax_hit: whether each was the most likely token.
        completion: the greedy continuation, or None where none was needed.
        common_run: longest run of tokens that completion and answer share.
        answer_tokens: number of tokens of the answer.
        label: comply, refuse or derail; empty where nothing was judged.
        fluency_nll: loss per token of the completion under the target model, or None.
    """

    model: str
    split: str
    example: Example
    log_probability: Sequence[float] = ()
    argmax_hit: Sequence[bool] = ()
    completion: str | None = None
    common_run: int = 0
    answer_tokens: int = 0
    label: str = ""
    fluency_nll: float | None = None
    rouge: float | None = field(default=None)

    @property
    def nll(self) -> float | None:
        """Return the mean cross-entropy per answer token, or None without answer tokens."""
        values = self.log_probability
        return -sum(values) / len(values) if values else None


GENERATED = ("forget", "prompts", "holdout", "retain")
JUDGED = ("forget", "holdout", "retain")


def splits_to_read(forget_set: ForgetSet) -> dict[str, Sequence[Example]]:
    """Return the splits that evaluation reads, by the name they have in results."""
    chosen = {
        "forget": forget_set.splits["forget"],
        "prompts": forget_set.probes["prompts"],
        "holdout": forget_set.splits["holdout"],
        "retain": forget_set.probes["retain"],
        "general": forget_set.probes["general"],
    }
    return {name: rows for name, rows in chosen.items() if rows}


def measure(
    language_model: LanguageModel,
    forget_set: ForgetSet,
    role: str,
    config: EvaluateConfig,
    progress: Progress,
) -> list[Sample]:
    """Score every split, and continue the prompts of forget, its probes, holdout and retain."""
    from forgetkit.lm.score import score

    splits = splits_to_read(forget_set)
    samples = [Sample(role, name, e) for name, rows in splits.items() for e in rows]
    progress.stage(f"read every split ({role})", len(samples))
    with_answer = [s for s in samples if s.example.answer]
    scores = score(
        language_model,
        [s.example for s in with_answer],
        max_tokens=config.max_tokens,
        advance=progress.advance,
    )
    for sample, found in zip(with_answer, scores, strict=True):
        sample.log_probability = found.log_probability
        sample.argmax_hit = found.argmax_hit
        sample.answer_tokens = len(found.argmax_hit)
    _generate(language_model, samples, config, role, progress)
    return samples


def _generate(
    language_model: LanguageModel,
    samples: Sequence[Sample],
    config: EvaluateConfig,
    role: str,
    progress: Progress,
) -> None:
    from forgetkit.lm.encode import render_prompt
    from forgetkit.lm.generate import continuations

    tokenizer = language_model.tokenizer
    for retain, tokens in ((False, config.answer_tokens), (True, config.retain_answer_tokens)):
        chosen = [s for s in samples if s.split in GENERATED and (s.split == "retain") is retain]
        name = "continue retain prompts" if retain else "continue forget prompts"
        progress.stage(f"{name} ({role})", len(chosen))
        texts = continuations(
            language_model,
            [render_prompt(tokenizer, s.example.prompt, s.example.template) for s in chosen],
            max_new_tokens=tokens,
            batch_size=config.generate_batch,
            advance=progress.advance,
        )
        for sample, text in zip(chosen, texts, strict=True):
            sample.completion = text
            answer = tokenizer(sample.example.answer, add_special_tokens=False).input_ids
            ids = tokenizer(text, add_special_tokens=False).input_ids[: max(len(answer), 1)]
            sample.common_run = longest_common_run(ids, answer)


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


def add_fluency(
    target: LanguageModel, samples: Sequence[Sample], config: EvaluateConfig, progress: Progress
) -> None:
    """Score the continuations of forget, probes and holdout prompts under the target model."""
    from dataclasses import replace

    from forgetkit.lm.score import score

    chosen = [s for s in samples if s.completion and s.split in ("forget", "prompts", "holdout")]
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


def add_rouge(samples: Sequence[Sample]) -> None:
    """Compute ROUGE-L (F, by rouge-score) of each continuation against its answer."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    for sample in samples:
        if sample.completion is not None and sample.example.answer:
            answer = sample.example.answer.split()
            said = " ".join(sample.completion.split()[: len(answer)])
            sample.rouge = scorer.score(" ".join(answer), said)["rougeL"].fmeasure


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write `samples.parquet`, mode 0600 (it holds protected text)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from forgetkit import schema
    from forgetkit.files import atomic_path

    rows = [
        {
            "model": s.model,
            "split": s.split,
            "example_id": s.example.example_id,
            "kind": s.example.kind,
            "variant": s.example.variant,
            "prompt": s.example.prompt,
            "answer": s.example.answer,
            "log_probability": list(s.log_probability),
            "argmax_hit": list(s.argmax_hit),
            "completion": s.completion,
            "common_run": s.common_run,
            "answer_tokens": s.answer_tokens,
            "label": s.label,
            "fluency_nll": s.fluency_nll,
        }
        for s in samples
    ]
    with atomic_path(path, private=True) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.samples()), temporary)
