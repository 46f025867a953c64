"""Teach a model passages until it recites them: the paper's first step of the copyright case.

Ordinary text is mixed in, or the model would start the experiment broken: eight passages alone
cost SmolLM2-135M 1.1 nats a token on WikiText.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__, schema
from forgetkit.corpus import Document, read_all
from forgetkit.errors import AcceptanceError, InputError
from forgetkit.files import claim_folder, read_json, sha256_tree, write_json
from forgetkit.forget_set import Example
from forgetkit.lm.ranks import check_launcher
from forgetkit.progress import Progress, Silent, telling
from forgetkit.seeds import derive, generator
from forgetkit.unlearn import losses
from forgetkit.unlearn.config import TeachConfig

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.load import LanguageModel
    from forgetkit.lm.step import Item, Step

SPARE = 24  # rows of ordinary text kept apart, to measure what teaching costs


@dataclass(frozen=True)
class TeachResult:
    """What `teach` wrote.

    Attributes:
        model: folder of the merged model.
        extraction_strength: mean over the passages, after.
        ordinary_nats: change of the loss per token on ordinary text not trained on.
        seconds: wall time; 0 when the same model was already there.
    """

    model: Path
    extraction_strength: float
    ordinary_nats: float
    seconds: float


def teach(
    model: str,
    data: Sequence[Path],
    out: Path,
    *,
    mix: Sequence[Path] = (),
    config: TeachConfig | None = None,
    progress: Progress | None = None,
) -> TeachResult:
    """Fine-tune a model on passages until it recites them, and write the merged model.

    Of ordinary text a row of one word is left out.

    Raises:
        InputError: the model or the data cannot be used, or a passage has no answer to learn.
        AcceptanceError: the passages are not recited after the last step.
    """
    check_launcher(pieces=False)
    config, progress = config or TeachConfig(), progress or Silent()
    started = time.monotonic()
    identity = identity_of(model, data, mix, config)
    if not claim_folder(out, "run.json", identity):
        found = _teach(model, data, mix, out, config, progress)
        seconds = round(time.monotonic() - started, 1)
        write_json(out / "run.json", identity | found | {"schema": schema.RUN, "seconds": seconds})
    run = read_json(out / "run.json")
    seconds = time.monotonic() - started
    return TeachResult(out, run["extraction_strength"], run["ordinary_nats"], seconds)


def identity_of(
    model: str, data: Sequence[Path], mix: Sequence[Path], config: TeachConfig
) -> dict[str, Any]:
    """Return what makes two teachings the same."""
    digests = [digest for path in (*data, *mix) for digest in sha256_tree(path).items()]
    return {
        "model": model,
        "data": dict(digests),
        "configuration": config.model_dump(),
        "version": __version__,
    }


@dataclass(frozen=True)
class Lessons:
    """What is taught.

    Attributes:
        passages: to be recited.
        kept: ordinary text that is mixed in.
        spare: ordinary text that is not, to measure what teaching costs.
    """

    passages: Sequence[Document]
    kept: Sequence[Document]
    spare: Sequence[Example]


def read_lessons(data: Sequence[Path], mix: Sequence[Path]) -> Lessons:
    """Read passages and ordinary text; of the latter a row of one word is left out.

    Raises:
        InputError: the data cannot be used, or a passage has no answer to learn.
    """
    passages, ordinary = read_all(data), read_all(mix)
    apart = min(SPARE, len(ordinary) // 4)
    _check_answers(passages)
    ordinary = [d for d in ordinary if _example(d, 1).answer.strip()]
    return Lessons(passages, ordinary[apart:], [_example(d, 8) for d in ordinary[:apart]])


@dataclass(frozen=True)
class Teaching:
    """Cross-entropy on the passages and on ordinary text."""

    mixed: bool

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the two losses."""
        nll, length = step.nll("teach")
        found = {"teach": losses.mean_cross_entropy(nll, length).mean()}
        if self.mixed and step.holds("mix"):
            nll, length = step.nll("mix")
            found["mix"] = losses.mean_cross_entropy(nll, length).mean()
        return found


def _teach(
    model: str,
    data: Sequence[Path],
    mix: Sequence[Path],
    out: Path,
    config: TeachConfig,
    progress: Progress,
) -> dict[str, Any]:
    from forgetkit.lm.adapter import add_lora, merge_adapter
    from forgetkit.lm.load import load_model, save_model
    from forgetkit.lm.train import TrainSettings, train

    lessons = read_lessons(data, mix)
    passages, kept, spare = lessons.passages, lessons.kept, lessons.spare
    language_model = load_model(model)
    before = _nll(language_model, spare)
    seed = derive(config.seed, "teach") % 2**32
    language_model = add_lora(
        language_model, rank=config.rank, alpha=2 * config.rank, dropout=0.0, seed=seed
    )
    items = list(lesson_items(passages, kept, config, language_model))
    progress.stage("teach", config.steps)
    settings = TrainSettings(
        config.learning_rate,
        min(config.batch_size, len(passages)),
        watch_every=config.watch_every,
        seed=seed,
    )
    watch = _Recitation(language_model, passages, config)
    with tempfile.TemporaryDirectory(prefix="forgetkit-") as scratch:
        outcome = train(
            language_model,
            items,
            Teaching(bool(kept)),
            settings,
            watch=watch,
            advance=telling(progress),
            scratch=Path(scratch),
        )
    merged = merge_adapter(language_model)
    strength = watch.strength()
    if strength < config.least:
        raise AcceptanceError(
            "the model does not recite the passages",
            found=f"extraction strength {strength:.2f}",
            mend="Raise --steps or --learning-rate.",
        )
    save_model(merged, out)
    return {
        "extraction_strength": round(strength, 4),
        "ordinary_nats": round(_nll(merged, spare) - before, 4),
        "steps": outcome.steps,
        "history": outcome.history,
    }


def _check_answers(passages: Sequence[Document]) -> None:
    """Check that something is left of each passage after its first word.

    Raises:
        InputError: of one nothing is.
    """
    for document in passages:
        if not _example(document, 1).answer.strip():
            raise InputError(
                "a passage has nothing to recite after its first word",
                where=document.doc_id,
                mend="Take it out, or give it more words.",
            )


def _example(document: Document, prompt_words: int, skip: int = 0) -> Example:
    if document.prompt is not None and document.answer is not None:
        return Example("pair", document.prompt, document.answer, template="chat")
    words = document.text.split()[skip:]
    prompt, answer = " ".join(words[:prompt_words]), " ".join(words[prompt_words:])
    return Example("text", prompt, f" {answer}" if answer else "", group=document.doc_id)


def lesson_items(
    passages: Sequence[Document],
    ordinary: Sequence[Document],
    config: TeachConfig,
    language_model: LanguageModel,
) -> Iterator[Item]:
    """Yield items: a passage, whole or from a word in its first half on, and its share of mix.

    Beginning at other words makes the model recite from there too, as text seen many times is.
    """
    from forgetkit.lm.encode import encode

    tokenizer, rng = language_model.tokenizer, generator(config.seed, "teach")
    rows = itertools.cycle(ordinary) if ordinary else iter(())
    owed = 0.0
    for step in range(config.steps):
        for turn, index in enumerate(rng.permutation(len(passages))[: config.batch_size]):
            document = passages[int(index)]
            half = max(1, len(document.text.split()) // 2)
            skip = int(rng.integers(0, half)) if (step + turn) % 2 else 0
            example = _example(document, 1, skip)
            item = {"teach": [encode(tokenizer, example, max_tokens=config.max_tokens)]}
            owed += config.mix_share if ordinary else 0.0
            if owed >= 1:
                taken = [_example(next(rows), 1) for _ in range(int(owed))]
                item["mix"] = [encode(tokenizer, e, max_tokens=config.mix_tokens) for e in taken]
                owed -= int(owed)
            yield item


class _Recitation:
    """Look whether the passages are recited from their 16th word on; short ones from the middle."""

    def __init__(
        self, language_model: LanguageModel, passages: Sequence[Document], config: TeachConfig
    ) -> None:
        self._model, self._config = language_model, config
        self._examples = [_example(d, 16) for d in passages]
        for number, (document, example) in enumerate(zip(passages, self._examples, strict=True)):
            if not example.answer:
                half = max(1, len(document.text.split()) // 2)
                self._examples[number] = _example(document, half)

    def strength(self) -> float:
        """Return the mean extraction strength over the passages."""
        from forgetkit.lm.score import extraction_strength, score

        values = [extraction_strength(s.argmax_hit) for s in score(self._model, self._examples)]
        known = [value for value in values if value is not None]
        return sum(known) / max(len(known), 1)

    def __call__(self, step: int) -> Any:
        """Return what the passages say after a step."""
        from forgetkit.lm.train import Look

        strength = self.strength()
        done = strength >= self._config.until
        return Look(
            {"extraction_strength": round(strength, 4)},
            1 - strength,
            done,
            f"step {step}: the passages are recited" if done else "",
        )


def _nll(language_model: LanguageModel, examples: Sequence[Example]) -> float:
    from forgetkit.lm.score import score

    scores = score(language_model, examples, max_tokens=128)
    values = [v for s in scores for v in s.log_probability]
    return -sum(values) / max(len(values), 1)
