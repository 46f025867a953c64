"""What is to be forgotten: from accepted spans, from files, from the model's own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from forgetkit.build import pairs, text
from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.facts import Right, ready_examples
from forgetkit.build.inputs import Inputs
from forgetkit.build.passages import Passage, passage_of_document, passages
from forgetkit.build.ready import read_ready
from forgetkit.build.target import Target, scored_examples
from forgetkit.corpus import Document, read_all, read_works
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
        right: right answers by the id of the forget example, where the data name them.
    """

    forget: list[Example]
    prompts: list[Example]
    unknown: list[Example]
    right: Right = field(default_factory=dict)


def candidates(
    inputs: Inputs, config: BuildConfig, target: Target, books: Books, progress: Progress
) -> Candidates:
    """Gather the forget examples; prompt-answer pairs, where there are any, come alone."""
    spans = accepted_spans(inputs, books)
    documents = read_ready(inputs.ready, count=books.count)
    ready, right = ready_examples(documents, config)
    found = pairs.pairs_of_spans(spans, config) + ready
    found += _own_pairs(inputs, config, target, books, progress)
    cut = _passages(inputs, [s for s in spans if s.prompt is None], documents)
    if found:
        if cut:
            books.count("passages of text left out beside pairs", len(cut))
            books.warnings.append("a forget set holds pairs or text: the text was left out")
        return Candidates(mean_weight_one(distinct(found)), [], [], right)
    books.counts["passages"] = len(cut)
    ids = target.tokenizer() if cut else None
    forget = distinct([e for p in cut for e in text.forget_examples(p, config, ids)])
    probes = distinct([e for p in cut for e in text.probe_examples(p, config, ids)])
    forget = mean_weight_one(forget)
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


def _passages(
    inputs: Inputs, spans: Sequence[Span], documents: Sequence[Document]
) -> list[Passage]:
    works = read_works(inputs.works) if inputs.works else []
    ready = [passage_of_document(d) for d in documents if d.text]
    return passages(spans, works) + ready


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


def mean_weight_one(examples: Sequence[Example]) -> list[Example]:
    """Scale weights so that their mean is 1: the learning rate keeps its meaning."""
    total = sum(e.weight for e in examples)
    if not total or all(e.weight == 1.0 for e in examples):
        return list(examples)
    return [replace(e, weight=round(e.weight * len(examples) / total, 6)) for e in examples]
