"""Examples of prompt and answer: from spans, from files, and the target model's own answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from forgetkit.build.config import BuildConfig
from forgetkit.corpus import Document
from forgetkit.forget_set import Example
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel

Judge = Callable[[Sequence[str], Sequence[str]], list[str]]  # prompts, answers -> labels


def pairs_of_spans(spans: Sequence[Span]) -> list[Example]:
    """Make one pair of each prompt-answer document that holds an accepted span."""
    found: dict[tuple[str, str], Example] = {}
    for span in spans:
        if span.prompt is None or not span.answer:
            continue
        found.setdefault(
            (span.prompt, span.answer),
            Example(
                "pair",
                span.prompt,
                span.answer,
                template="chat",
                variant=span.category,
                group=span.cluster_id or span.doc_id,
                source=span.source,
            ),
        )
    return list(found.values())


def pair_of_document(document: Document, variant: str) -> Example | None:
    """Make a pair of an ordinary prompt-answer document; None when it is no pair."""
    if not document.prompt or not document.answer:
        return None
    return Example(
        "pair",
        document.prompt,
        document.answer,
        template="chat",
        variant=variant,
        group=document.doc_id,
        source=document.source,
    )


def own_answers(
    language_model: LanguageModel,
    prompts: Sequence[Document],
    config: BuildConfig,
    progress: Progress,
) -> list[Example]:
    """Let the target model answer each prompt greedily, and make pairs of what it says."""
    from forgetkit.lm.encode import render_prompt
    from forgetkit.lm.generate import continuations

    tokenizer = language_model.tokenizer
    questions = [d.prompt or d.text for d in prompts]
    progress.stage("the model's own answers", len(questions))
    answers = continuations(
        language_model,
        [render_prompt(tokenizer, question, "chat") for question in questions],
        max_new_tokens=config.own_answer_tokens,
        advance=progress.advance,
    )
    return [
        Example(
            "pair",
            question,
            answer.strip(),
            template="chat",
            variant="own answer",
            group=str(document.extra.get("cluster", document.doc_id)),
            source=document.source,
        )
        for document, question, answer in zip(prompts, questions, answers, strict=True)
    ]


def complying(pairs: Sequence[Example], judge: Judge) -> list[Example]:
    """Keep the pairs whose answer the judge calls complying: only those are to be forgotten."""
    labels = judge([p.prompt for p in pairs], [p.answer for p in pairs])
    return [pair for pair, label in zip(pairs, labels, strict=True) if label == "comply"]
