"""The room's verb: from accepted spans, works and ordinary data to a forget set."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__
from forgetkit.build import pairs, text
from forgetkit.build.alternatives import alternatives
from forgetkit.build.card import card
from forgetkit.build.checks import check_filled, check_overlap
from forgetkit.build.config import BuildConfig
from forgetkit.build.retain import Ordinary, take_ordinary
from forgetkit.corpus import read_all, read_works
from forgetkit.decisions import current
from forgetkit.errors import InputError
from forgetkit.files import claim_folder, read_json, sha256_tree
from forgetkit.forget_set import Example, ForgetSet, read_forget_set, write_forget_set
from forgetkit.progress import Progress, Silent
from forgetkit.spans import Span, read_spans

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel


@dataclass(frozen=True)
class Inputs:
    """What `build` reads; every path may be a file or a folder.

    Attributes:
        spans: a spans file, or None.
        decisions: a decisions file; without it, spans count only with `accept_all`.
        accept_all: every span without a decision counts as accepted.
        ready: files of ready forget data (columns prompt and answer, or text).
        prompts: prompts whose answers by the target model are to be forgotten.
        works: the protected works that `mine` was given.
        retain: ordinary data of the same form.
        holdout: data like forget that no one trains on; works for text, prompts for pairs.
        general: ordinary text to measure utility on.
        refusals: answers that refuse, for the mismatch kind `refusal`.
        alternatives: pairs of forget prompt and other answer, for the kind `alternative`.
        model: the target model, for ranking and own answers.
    """

    spans: Path | None = None
    decisions: Path | None = None
    accept_all: bool = False
    ready: Sequence[Path] = ()
    prompts: Path | None = None
    works: Sequence[Path] = ()
    retain: Sequence[Path] = ()
    holdout: Sequence[Path] = ()
    general: Sequence[Path] = ()
    refusals: Path | None = None
    alternatives: Path | None = None
    model: str | None = None

    def digests(self) -> dict[str, Any]:
        """Return the SHA-256 of every input file by its role, the decisions, and the model's."""
        from forgetkit.lm.load import model_digest, resolve_model

        found: dict[str, Any] = {"accept_all": self.accept_all}
        for role, paths in self._paths().items():
            for number, path in enumerate(paths):
                if not path.exists():
                    raise InputError("no such file or folder", where=str(path))
                place = f"{role}/{number}/{path.name}"
                found |= {f"{place}/{name}": d for name, d in sha256_tree(path).items()}
        if self.decisions is not None:
            decided = current(self.decisions)
            found["decisions"] = {name: d.accepted for name, d in sorted(decided.items())}
        if self.model is not None:
            _, folder = resolve_model(self.model)
            found["model"] = model_digest(folder) if folder else self.model
        return found

    def _paths(self) -> dict[str, list[Path]]:
        single = {
            "spans": self.spans,
            "prompts": self.prompts,
            "refusals": self.refusals,
            "alternatives": self.alternatives,
        }
        several = {
            "ready": self.ready,
            "works": self.works,
            "retain": self.retain,
            "holdout": self.holdout,
            "general": self.general,
        }
        found = {role: [path] for role, path in single.items() if path is not None}
        return found | {role: list(paths) for role, paths in several.items()}


@dataclass(frozen=True)
class BuildResult:
    """What `build` wrote.

    Attributes:
        folder: the forget set.
        counts: examples by split, and what was set aside by reason.
        seconds: wall time; 0 when the same set was already there.
        warnings: what a person should know.
    """

    folder: Path
    counts: Mapping[str, int]
    seconds: float
    warnings: Sequence[str] = field(default=())


def build(
    inputs: Inputs,
    out: Path,
    *,
    config: BuildConfig | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build a forget set: forget, mismatch, retain, holdout, probes, data card and manifest.

    The same inputs and configuration give the same bytes; a finished folder is left as it is.

    Raises:
        InputError: nothing to forget, an empty split, or splits that overlap.
    """
    config, progress = config or BuildConfig(), progress or Silent()
    started = time.monotonic()
    digests = inputs.digests()
    identity = {"inputs": digests, "configuration": config.model_dump(), "version": __version__}
    if claim_folder(out, "manifest.json", identity):
        manifest = read_json(out / "manifest.json")
        return BuildResult(out, manifest["counts"], 0.0, tuple(manifest["warnings"]))
    maker = _Maker(inputs, config, progress)
    forget_set = maker.make()
    counts = maker.counts | _sizes(forget_set)
    manifest = identity | {
        "counts": counts,
        "warnings": maker.warnings,
        "overlaps": maker.overlaps,
    }
    finished = ForgetSet(forget_set.splits, forget_set.probes, manifest)
    write_forget_set(out, finished, card(finished.splits, finished.probes, counts))
    read_forget_set(out)  # what was written reads back
    seconds = time.monotonic() - started
    return BuildResult(out, counts, seconds, tuple(maker.warnings))


def _sizes(forget_set: ForgetSet) -> dict[str, int]:
    sizes = {name: len(examples) for name, examples in forget_set.splits.items()}
    return sizes | {f"probes/{name}": len(rows) for name, rows in forget_set.probes.items()}


class _Maker:
    """One build: counts what it drops and says why."""

    def __init__(self, inputs: Inputs, config: BuildConfig, progress: Progress) -> None:
        self.inputs, self.config, self.progress = inputs, config, progress
        self.counts: dict[str, int] = {}
        self.warnings: list[str] = []
        self.overlaps: list[tuple[str, str, str, str]] = []
        self._model: LanguageModel | None = None

    def make(self) -> ForgetSet:
        """Make all splits and check them."""
        spans = self._accepted()
        forget, probes = self._forget(spans)
        if not forget:
            raise InputError(
                "there is nothing to forget",
                where=str(self.inputs.spans or ""),
                found=", ".join(f"{n} {reason}" for reason, n in self.counts.items()),
                mend="Accept spans (--decisions or --accept-all), or check the model and works.",
            )
        kind = forget[0].kind
        needed = max(len(forget), 40)
        holdout = self._holdout(kind, self.config.holdout_size or needed)
        ordinary = take_ordinary(
            self.inputs.retain,
            self.inputs.general,
            kind,
            [e.prompt + e.answer for e in forget],
            self.config,
            self.progress,
        )
        if ordinary.repeats:
            self.counts["ordinary rows that repeat others"] = ordinary.repeats
        mismatch = self._mismatch(forget, ordinary)
        splits = {
            "forget": forget,
            "mismatch": mismatch,
            "retain": ordinary.train,
            "holdout": holdout,
        }
        tables = {"prompts": probes, "retain": ordinary.probe, "general": ordinary.general}
        check_filled(splits, ("forget", "mismatch", "retain", "holdout"))
        everything = splits | {
            name if name == "prompts" else f"probes/{name}": rows for name, rows in tables.items()
        }
        self.overlaps = check_overlap(
            everything, self.config.shared_words, allowed=self.config.allow_overlap
        )
        return ForgetSet(splits, tables | {"unknown": self._unknown})

    _unknown: Sequence[Example] = ()

    def _accepted(self) -> list[Span]:
        if self.inputs.spans is None:
            return []
        spans = read_spans(self.inputs.spans)
        decided = current(self.inputs.decisions) if self.inputs.decisions else {}
        taken = []
        for span in spans:
            decision = decided.get(span.span_id)
            if decision.accepted if decision else self.inputs.accept_all:
                taken.append(span)
        self.counts |= {"spans": len(spans), "spans not accepted": len(spans) - len(taken)}
        return taken

    def _forget(self, spans: Sequence[Span]) -> tuple[list[Example], list[Example]]:
        found_pairs = pairs.pairs_of_spans(spans) + self._ready_pairs() + self._own_pairs()
        if found_pairs:
            return _distinct(found_pairs), []
        works = read_works(self.inputs.works) if self.inputs.works else []
        found = text.passages([s for s in spans if s.prompt is None], works)
        found += self._ready_passages()
        self.counts["passages"] = len(found)
        forget = [e for p in found for e in text.forget_examples(p, self.config)]
        probes = [e for p in found for e in text.probe_examples(p, self.config)]
        return self._ranked(_distinct(forget), _distinct(probes))

    def _ready_pairs(self) -> list[Example]:
        made = (pairs.pair_of_document(d, "ready") for d in read_all(self.inputs.ready))
        return [pair for pair in made if pair is not None]

    def _ready_passages(self) -> list[text.Passage]:
        return [
            text.Passage(d.doc_id, "", d.text, 0, len(d.text), 1, d.source)
            for d in read_all(self.inputs.ready)
            if d.text
        ]

    def _own_pairs(self) -> list[Example]:
        if self.inputs.prompts is None:
            return []
        prompts = read_all([self.inputs.prompts])
        made = pairs.own_answers(self._loaded(), prompts, self.config, self.progress)
        kept = pairs.complying(made, _judge(self.progress))
        self.counts |= {"prompts asked": len(made), "own answers that comply": len(kept)}
        return kept

    def _loaded(self) -> LanguageModel:
        from forgetkit.lm.load import load_model

        if self.inputs.model is None:
            raise InputError("the target model's own answers need it", mend="Give --model.")
        if self._model is None:
            self._model = load_model(self.inputs.model)
        return self._model

    def _ranked(
        self, forget: list[Example], probes: list[Example]
    ) -> tuple[list[Example], list[Example]]:
        """Keep the passages that the target model knows, by the best window of each."""
        if self.inputs.model is None or not self.config.rank_by_memorization or not forget:
            return forget, probes
        self.progress.stage("what the model recites", len(forget))
        scored = scored_examples(self._loaded(), forget, self.progress)
        best: dict[str, float] = {}
        for example in scored:
            best[example.group] = max(best.get(example.group, 0.0), example.memorization or 0.0)
        known = {group for group, value in best.items() if value >= self.config.known_at}
        self._unknown = [e for e in scored if e.group not in known]
        self.counts |= {
            "passages the model does not know": len(best) - len(known),
            "examples set aside as unknown": len(self._unknown),
        }
        if not known:
            self.warnings.append("the model recites none of the passages found")
        return (
            [e for e in scored if e.group in known],
            [e for e in probes if e.group in known],
        )

    def _holdout(self, kind: str, size: int) -> list[Example]:
        if not self.inputs.holdout:
            return []
        if kind == "text":
            found = text.windows_of_works(read_works(self.inputs.holdout), self.config)
            return _spread(found, size)
        documents = read_all(self.inputs.holdout)
        answered = [p for d in documents if (p := pairs.pair_of_document(d, "holdout"))]
        asked = [d for d in documents if not d.answer]
        if asked:
            answered += pairs.own_answers(self._loaded(), asked, self.config, self.progress)
        return _distinct(answered)

    def _mismatch(self, forget: Sequence[Example], ordinary: Ordinary) -> list[Example]:
        if self.config.mismatch == "alternative":
            if self.inputs.alternatives is None:
                raise InputError(
                    "the mismatch kind alternative needs answers", mend="Give --alternatives."
                )
            return alternatives(forget, read_all([self.inputs.alternatives]), self.config)
        if self.config.mismatch == "refusal":
            if self.inputs.refusals is None:
                raise InputError("the mismatch kind refusal needs answers", mend="Give --refusals.")
            rows = read_all([self.inputs.refusals], {"text": "answer"})
            answers = [row.text for row in rows]
        else:
            answers = list(ordinary.answers)
        return text.mismatched(forget, answers, self.config, self.config.mismatch)


def scored_examples(
    language_model: LanguageModel, examples: Sequence[Example], progress: Progress
) -> list[Example]:
    """Return the examples with the extraction strength that the model gives each."""
    from forgetkit.lm.score import extraction_strength, score

    scores = score(language_model, examples, advance=progress.advance)
    return [
        example.known(extraction_strength(found.argmax_hit) or 0.0)
        for example, found in zip(examples, scores, strict=True)
    ]


def recited(
    works: Sequence[Path], model: str, config: BuildConfig, progress: Progress
) -> tuple[int, int]:
    """Say how much of whole works a model recites: (windows with ES >= known_at, windows)."""
    from forgetkit.lm.load import load_model

    windows = text.windows_of_works(read_works(works), config)
    progress.stage("what the model recites", len(windows))
    scored = scored_examples(load_model(model), windows, progress)
    return sum((e.memorization or 0) >= config.known_at for e in scored), len(scored)


def _judge(progress: Progress) -> pairs.Judge:
    from forgetkit.classify.judge import open_judge
    from forgetkit.embed import open_embedder

    judge = open_judge(open_embedder().encode)

    def labels(prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
        progress.stage("judge the answers", None)
        return [verdict.label for verdict in judge.judge(prompts, answers)]

    return labels


def _distinct(examples: Sequence[Example]) -> list[Example]:
    seen: dict[tuple[str, str], Example] = {}
    for example in examples:
        seen.setdefault((example.prompt, example.answer), example)
    return list(seen.values())


def _spread(examples: Sequence[Example], size: int) -> list[Example]:
    """Take `size` examples, evenly spread over the list."""
    if len(examples) <= size:
        return list(examples)
    return [examples[i * len(examples) // size] for i in range(size)]
