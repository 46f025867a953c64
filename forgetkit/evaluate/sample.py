"""The rows that every number is computed from: `samples.parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetkit import schema
from forgetkit.errors import InputError
from forgetkit.evaluate.words import Tokenizer, beginning, pieces
from forgetkit.files import atomic_path
from forgetkit.forget_set import Example

BEFORE, AFTER, RETAIN_MODEL = "before", "after", "retain_model"


@dataclass
class Sample:
    """What one model does with one example.

    Attributes:
        model: before, after or retain_model.
        split: forget, prompts, holdout, retain, general or others.
        example: the example.
        log_probability: of each answer token, in nats.
        argmax_hit: whether each was the most likely token.
        completion: the greedy continuation, or None where none was needed.
        common_run: longest run of tokens that completion and answer share.
        answer_tokens: number of tokens of the answer, at most those that were generated.
        answer_words: words of the answer that so many tokens hold, where the answer is longer; 0
            where the whole answer could have been said.
        label: comply, refuse or derail; empty where nothing was judged.
        fluency_nll: loss per token of the completion under the target model, or None.
        mean: log-probability expected of a token drawn from the model, per answer token; empty
            where membership is not measured.
        deviation: its standard deviation.
        similarity: cosine of completion and answer by the sentence embedder, of a retain row of
            the model after with the completion of the model before; or None.
        rouge: ROUGE-L (F) of the answer, as far as it could have been said (of a retain row the
            whole), and as many words of the completion; computed from the texts, not stored.
        rouge_recall: ROUGE-L recall of the whole completion (TOFU's); not stored.
    """

    model: str
    split: str
    example: Example
    log_probability: Sequence[float] = ()
    argmax_hit: Sequence[bool] = ()
    completion: str | None = None
    common_run: int = 0
    answer_tokens: int = 0
    answer_words: int = 0
    label: str = ""
    fluency_nll: float | None = None
    mean: Sequence[float] = ()
    deviation: Sequence[float] = ()
    similarity: float | None = None
    rouge: float | None = None
    rouge_recall: float | None = None

    @property
    def nll(self) -> float | None:
        """Return the mean cross-entropy per answer token, or None without answer tokens."""
        values = self.log_probability
        return -sum(values) / len(values) if values else None

    @property
    def expected(self) -> str:
        """Return as much of the answer as the longest continuation holds."""
        answer = self.example.answer
        return beginning(answer, self.answer_words) if self.answer_words else answer


def add_rouge(samples: Sequence[Sample]) -> None:
    """Compute ROUGE-L (rouge-score, words of any script) of continuations against answers."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=Tokenizer())
    for sample in samples:
        if sample.completion is None or not sample.example.answer:
            continue
        is_retain = sample.split == "retain"
        true = sample.example.answer if is_retain else sample.expected
        said = beginning(sample.completion, len(pieces(true)))
        sample.rouge = scorer.score(true, said)["rougeL"].fmeasure
        if is_retain:
            sample.rouge_recall = scorer.score(true, sample.completion)["rougeL"].recall


_OF_SAMPLE = (
    "model",
    "split",
    "log_probability",
    "argmax_hit",
    "completion",
    "common_run",
    "answer_tokens",
    "answer_words",
    "label",
    "fluency_nll",
    "mean",
    "deviation",
    "similarity",
)
_OF_EXAMPLE = (
    "kind",
    "variant",
    "prompt",
    "answer",
    "template",
    "pair_of",
    "group",
    "work_id",
    "source",
)


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write `samples.parquet`, mode 0600 (it holds protected text)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(sample) for sample in samples]
    with atomic_path(path, private=True) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.samples()), temporary)


def _row(sample: Sample) -> dict[str, Any]:
    own = {name: getattr(sample, name) for name in _OF_SAMPLE}
    row = {name: list(v) if isinstance(v, tuple) else v for name, v in own.items()}
    example = sample.example
    return row | {k: getattr(example, k) for k in _OF_EXAMPLE} | {"example_id": example.example_id}


def read_samples(path: Path) -> list[Sample]:
    """Read `samples.parquet` back, with ROUGE computed anew.

    Raises:
        InputError: the file is missing, or has other columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(columns=[*_OF_SAMPLE, *_OF_EXAMPLE])
        samples = [_sample(row) for row in table.to_pylist()]
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise InputError(
            "is no samples file of this version", where=str(path), mend="Run `forgetkit evaluate`."
        ) from error
    add_rouge(samples)
    return samples


def _sample(row: Mapping[str, Any]) -> Sample:
    example = Example(**{name: row[name] for name in _OF_EXAMPLE})
    values = {name: row[name] for name in _OF_SAMPLE}
    return Sample(example=example, **values)
