"""What is to be forgotten: from accepted spans, from files, from the model's own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from forgetkit.build import pairs, text
from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.facts import Right, as_facts, names_no_wrong, ready_examples
from forgetkit.build.inputs import Inputs
from forgetkit.build.passages import passage_of_document, passages
from forgetkit.build.ranking import ranked_pairs, ranked_passages
from forgetkit.build.ready import read_ready
from forgetkit.build.target import Target
from forgetkit.corpus import Document, Work, read_all
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
        documents: the ready rows that were read.
        spans: the accepted spans.
    """

    forget: list[Example]
    prompts: list[Example]
    unknown: list[Example]
    right: Right = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


def candidates(
    inputs: Inputs,
    works: Sequence[Work],
    config: BuildConfig,
    target: Target,
    books: Books,
    progress: Progress,
) -> Candidates:
    """Gather the forget examples from spans and files together, of one kind.

    Where the inputs hold both, `config.kind` says which; pairs go first.
    """
    spans = accepted_spans(inputs, books)
    documents = read_ready(inputs.ready, count=books.count)
    found, right = _pairs(spans, documents, config, books)
    found += _own_pairs(inputs, config, target, books, progress)
    texts = [d for d in documents if d.text]
    cut = passages([s for s in spans if s.prompt is None], works)
    cut += [passage_of_document(d) for d in texts]
    takes_pairs = bool(found) and config.kind != "text"
    _say_left_out(takes_pairs, len(found), len(cut), config, books)
    if takes_pairs:
        forget = mean_weight_one(distinct(found))
        if _ranks(inputs, config):
            forget = ranked_pairs(forget, config, target, books, progress)
        return Candidates(forget, [], [], right, documents, spans)
    if config.kind == "pair":
        return Candidates([], [], [], {}, documents, spans)
    books.counts["passages"] = len(cut)
    ids = target.tokenizer() if cut else None
    forget = distinct([e for p in cut for e in text.forget_examples(p, config, ids)])
    probes = distinct([e for p in cut for e in text.probe_examples(p, config, ids)])
    forget = mean_weight_one(forget)
    unknown: list[Example] = []
    if forget and _ranks(inputs, config):
        forget, probes, unknown = ranked_passages(forget, probes, config, target, books, progress)
    return Candidates(forget, probes, unknown, {}, documents, spans)


def _ranks(inputs: Inputs, config: BuildConfig) -> bool:
    return inputs.model is not None and config.rank_by_memorization


def _pairs(
    spans: Sequence[Span], documents: Sequence[Document], config: BuildConfig, books: Books
) -> tuple[list[Example], Right]:
    """Return the pairs and facts of spans and of files, with the right answers of the facts."""
    ready, right = ready_examples(documents, config)
    facts, more = as_facts(pairs.pairs_of_spans(spans, config), documents, config)
    books.count("ready rows that name no wrong answer", sum(map(names_no_wrong, documents)))
    return facts + ready, right | more


def _say_left_out(
    takes_pairs: bool, pair_count: int, passage_count: int, config: BuildConfig, books: Books
) -> None:
    if takes_pairs and passage_count:
        books.count("passages of text left out beside pairs", passage_count)
        if config.kind == "auto":
            books.warnings.append(
                "a forget set holds pairs or text: the text was left out; "
                "--set kind=text builds its set"
            )
    elif pair_count and not takes_pairs:
        books.count("pairs left out beside text", pair_count)
    elif passage_count and config.kind == "pair":
        books.count("passages of text left out, kind=pair", passage_count)


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
