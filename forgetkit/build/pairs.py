"""Examples of prompt and answer: from spans, from files, and the target model's own answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from forgetkit.build.config import BuildConfig
from forgetkit.build.passages import merged
from forgetkit.corpus import Document
from forgetkit.forget_set import Example
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    from forgetkit.lm.generate import Continuation
    from forgetkit.lm.load import LanguageModel

Judge = Callable[[Sequence[str], Sequence[str]], list[str]]  # prompts, answers -> labels


MARKED = frozenset({"verbatim", "pattern"})
"""Detectors whose spans say which characters of an answer are protected; others mean all of it."""


def pairs_of_spans(spans: Sequence[Span], config: BuildConfig) -> list[Example]:
    """Make one pair of each prompt-answer document that holds an accepted span.

    A copied or private piece of an answer is marked, so that only it takes the loss; a harmful
    answer, or one whose prompt is the matter, takes it as a whole.
    """
    groups: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in spans:
        if span.prompt is not None and span.answer:
            groups[span.prompt, span.answer].append(span)
    return [_of_spans(members, config) for members in groups.values()]


def _of_spans(members: Sequence[Span], config: BuildConfig) -> Example:
    first = members[0]
    answer, mask = first.answer or "", merged([(s.start, s.end) for s in members])
    if any(s.field != "answer" or s.detector not in MARKED for s in members):
        mask = ()
    made = Example(
        "pair",
        first.prompt or "",
        answer,
        variant=first.category,
        group=first.cluster_id or first.doc_id,
        source=first.source,
        weight=float(len({s.doc_id for s in members})) if config.weight_by_copies else 1.0,
        answer_mask=() if mask == ((0, len(answer)),) else mask,
    )
    return in_template(made, config)


def in_template(pair: Example, config: BuildConfig) -> Example:
    """Return a pair in the chat template of the model, or in the paper's plain one.

    The plain one is written out, so that the row is what the model reads; its answer begins with
    a space (Yao et al. 2023, "### Question: ... ### Answer:").
    """
    if config.template == "chat":
        return replace(pair, template="chat")
    from forgetkit.lm.encode import PLAIN_PAIR

    answer = f" {pair.answer.lstrip()}"
    shift = len(answer) - len(pair.answer)
    mask = tuple((max(a + shift, 0), b + shift) for a, b in pair.answer_mask)
    prompt = PLAIN_PAIR.format(prompt=pair.prompt)
    return replace(pair, prompt=prompt, answer=answer, template="plain", answer_mask=mask)


def pair_of_document(document: Document, variant: str, config: BuildConfig) -> Example | None:
    """Make a pair of an ordinary prompt-answer document; None when it is no pair."""
    if not document.prompt or not document.answer:
        return None
    made = Example(
        "pair",
        document.prompt,
        document.answer,
        variant=variant,
        group=document.doc_id,
        source=document.source,
    )
    return in_template(made, config)


def own_answers(
    language_model: LanguageModel,
    prompts: Sequence[Document],
    config: BuildConfig,
    progress: Progress,
) -> list[Example]:
    """Let the target model answer each prompt greedily, and make pairs of what it says."""
    asked = [in_template(_own(d, ""), config) for d in prompts]
    answers = _said(language_model, asked, config, progress)
    return [
        in_template(_own(document, answer.text.strip()), config)
        for document, answer in zip(prompts, answers, strict=True)
    ]


def with_own_answers(
    language_model: LanguageModel,
    asked: Sequence[Example],
    config: BuildConfig,
    progress: Progress,
) -> list[Example]:
    """Put what the target model says in place of the answers; leave out where it says nothing.

    An answer that was cut is masked up to its last character, so that nothing teaches the model
    to end there.
    """
    found = []
    for example, answer in zip(asked, _said(language_model, asked, config, progress), strict=True):
        text = answer.text.strip()
        if not text:
            continue
        if example.template == "plain":
            text = f" {text}"
        cut = len(answer.ids) >= config.own_answer_tokens
        mask = ((0, len(text) - 1),) if cut and len(text) > 1 else ()
        found.append(replace(example, answer=text, answer_mask=mask))
    return found


def _said(
    language_model: LanguageModel,
    asked: Sequence[Example],
    config: BuildConfig,
    progress: Progress,
) -> list[Continuation]:
    from forgetkit.lm.encode import render_prompt
    from forgetkit.lm.generate import continuations

    progress.stage("the model's own answers", len(asked))
    return continuations(
        language_model,
        [render_prompt(language_model.tokenizer, e.prompt, e.template) for e in asked],
        max_new_tokens=config.own_answer_tokens,
        advance=progress.advance,
    )


def _own(document: Document, answer: str) -> Example:
    return Example(
        "pair",
        document.prompt or document.text,
        answer,
        variant="own answer",
        group=str(document.extra.get("cluster", document.doc_id)),
        source=document.source,
    )


def complying(pairs: Sequence[Example], judge: Judge) -> list[Example]:
    """Keep the pairs whose answer the judge calls complying: only those are to be forgotten."""
    labels = judge([p.prompt for p in pairs], [p.answer for p in pairs])
    return [pair for pair, label in zip(pairs, labels, strict=True) if label == "comply"]
