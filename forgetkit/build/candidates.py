"""What is to be forgotten: from accepted spans, from files, from the model's own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from forgetkit.build import pairs, text
from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.inputs import Inputs
from forgetkit.build.ready import FACT, read_ready
from forgetkit.build.target import Target, scored_examples
from forgetkit.corpus import read_all, read_works
from forgetkit.decisions import current
from forgetkit.forget_set import Example
from forgetkit.progress import Progress
from forgetkit.spans import Span, read_spans


@dataclass(frozen=True)
class Candidates:
    """What is to be forgotten, and other prompts for it.

    Attributes:
        forget: the examples.
        prompts: other start points and prefix lengths of the same passages.
        unknown: examples of passages that the target model does not know.
    """

    forget: list[Example]
    prompts: list[Example]
    unknown: list[Example]


def candidates(
    inputs: Inputs, config: BuildConfig, target: Target, books: Books, progress: Progress
) -> Candidates:
    """Gather the forget examples; prompt-answer pairs, where there are any, come alone."""
    spans = accepted_spans(inputs, books)
    found = pairs.pairs_of_spans(spans, config) + _ready_pairs(inputs, config)
    found += _own_pairs(inputs, config, target, books, progress)
    passages = _passages(inputs, [s for s in spans if s.prompt is None])
    if found:
        if passages:
            books.count("passages of text left out beside pairs", len(passages))
            books.warnings.append("a forget set holds pairs or text: the text was left out")
        return Candidates(distinct(found), [], [])
    books.counts["passages"] = len(passages)
    forget = distinct([e for p in passages for e in text.forget_examples(p, config)])
    probes = distinct([e for p in passages for e in text.probe_examples(p, config)])
    if inputs.model is None or not config.rank_by_memorization or not forget:
        return Candidates(forget, probes, [])
    return _ranked(forget, probes, config, target, books, progress)


def accepted_spans(inputs: Inputs, books: Books) -> list[Span]:
    """Return the spans that a person, a rule or `accept_all` accepted."""
    if inputs.spans is None:
        return []
    spans = read_spans(inputs.spans)
    decided = current(inputs.decisions) if inputs.decisions else {}
    taken = []
    for span in spans:
        decision = decided.get(span.span_id)
        if decision.accepted if decision else inputs.accept_all:
            taken.append(span)
    books.counts |= {"spans": len(spans), "spans not accepted": len(spans) - len(taken)}
    return taken


def _passages(inputs: Inputs, spans: Sequence[Span]) -> list[text.Passage]:
    works = read_works(inputs.works) if inputs.works else []
    found = text.passages(spans, works)
    return found + [
        text.Passage(d.doc_id, "", d.text, 0, len(d.text), 1, d.source)
        for d in read_ready(inputs.ready)
        if d.text
    ]


def _ready_pairs(inputs: Inputs, config: BuildConfig) -> list[Example]:
    made = [(d, pairs.pair_of_document(d, "ready", config)) for d in read_ready(inputs.ready)]
    return [replace(p, kind="fact") if FACT in d.extra else p for d, p in made if p is not None]


def _own_pairs(
    inputs: Inputs, config: BuildConfig, target: Target, books: Books, progress: Progress
) -> list[Example]:
    if inputs.prompts is None:
        return []
    prompts = read_all([inputs.prompts])
    made = pairs.own_answers(target.model(), prompts, config, progress)
    kept = pairs.complying(made, _judge(progress))
    books.counts |= {"prompts asked": len(made), "own answers that comply": len(kept)}
    return kept


def _judge(progress: Progress) -> pairs.Judge:
    from forgetkit.classify.judge import open_judge
    from forgetkit.embed import open_embedder

    judge = open_judge(open_embedder().encode)

    def labels(prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
        progress.stage("judge the answers", None)
        return [verdict.label for verdict in judge.judge(prompts, answers)]

    return labels


def _ranked(
    forget: Sequence[Example],
    probes: Sequence[Example],
    config: BuildConfig,
    target: Target,
    books: Books,
    progress: Progress,
) -> Candidates:
    """Keep the passages that the target model knows, by the best window of each."""
    progress.stage("what the model recites", len(forget))
    scored = scored_examples(target.model(), forget, progress)
    best: dict[str, float] = {}
    for example in scored:
        best[example.group] = max(best.get(example.group, 0.0), example.memorization or 0.0)
    known = {group for group, value in best.items() if value >= config.known_at}
    unknown = [e for e in scored if e.group not in known]
    books.counts |= {
        "passages the model does not know": len(best) - len(known),
        "examples set aside as unknown": len(unknown),
    }
    if not known:
        books.warnings.append("the model recites none of the passages found")
    return Candidates(
        [e for e in scored if e.group in known], [e for e in probes if e.group in known], unknown
    )


def distinct(examples: Sequence[Example]) -> list[Example]:
    """Drop examples whose prompt and answer an earlier one has."""
    seen: dict[tuple[str, str], Example] = {}
    for example in examples:
        seen.setdefault((example.prompt, example.answer), example)
    return list(seen.values())
