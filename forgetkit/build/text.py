"""Examples of running text: a prompt and its continuation out of one passage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forgetkit.build.config import BuildConfig
from forgetkit.build.windows import Window, at_sentences, shortened, sliding, words_in
from forgetkit.corpus import Document, Work
from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.seeds import generator
from forgetkit.spans import Span


@dataclass(frozen=True)
class Passage:
    """A text to suppress: `text[start:end]`, once however many copies the corpus holds.

    Attributes:
        group: its cluster.
        work_id: its work, or empty.
        text: the whole work, or the span's own text where no work is given.
        start: first code point.
        end: one past the last.
        copies: spans of the corpus that hold it.
        source: where it comes from.
    """

    group: str
    work_id: str
    text: str
    start: int
    end: int
    copies: int
    source: str


def passages(spans: Sequence[Span], works: Sequence[Work]) -> list[Passage]:
    """Make one passage of each cluster: the work's own text where the work is given.

    A corpus copy may be garbled, so the union of the members' ranges is cut from the work; a
    cluster without a work gives its longest member.

    Raises:
        InputError: a span names a range outside its work.
    """
    texts = {work.work_id: work.text for work in works}
    groups: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        groups[span.cluster_id or span.span_id].append(span)
    found = [_passage(name, members, texts) for name, members in sorted(groups.items())]
    return sorted(found, key=lambda p: (p.work_id, p.start, p.group))


def _passage(name: str, members: Sequence[Span], texts: Mapping[str, str]) -> Passage:
    placed = [s for s in members if s.work_id in texts and s.work_start is not None]
    if not placed:
        longest = max(members, key=lambda s: (s.end - s.start, s.span_id))
        source = f"{longest.source}[{longest.start}:{longest.end}]"
        work_id = longest.work_id or ""
        return Passage(name, work_id, longest.text, 0, len(longest.text), len(members), source)
    work_id = str(placed[0].work_id)
    text = texts[work_id]
    start = min(int(s.work_start or 0) for s in placed)
    end = max(int(s.work_end or 0) for s in placed)
    if not 0 <= start < end <= len(text):
        raise InputError(
            "a span lies outside its work",
            where=work_id,
            found=f"[{start}:{end}] of {len(text)}",
            mend="Give the works that `mine` was given.",
        )
    return Passage(name, work_id, text, start, end, len(members), f"{work_id}[{start}:{end}]")


def forget_examples(passage: Passage, config: BuildConfig) -> list[Example]:
    """Cut a passage into windows, one every `stride_words`."""
    windows = sliding(
        passage.text,
        passage.start,
        passage.end,
        prompt_words=config.prompt_words,
        answer_words=config.answer_words,
        stride=config.stride_words,
    )
    return [_of_passage(passage, window, "") for window in windows]


def probe_examples(passage: Passage, config: BuildConfig) -> list[Example]:
    """Cut the same passage at other start points and prefix lengths: prompts not trained on."""
    found: list[Example] = []
    for name, prompt, first in (("short prefix", 2, 4), ("long prefix", -2, 6)):
        words = words_in(passage.text, passage.start, passage.end)
        length = config.prompt_words // 2 if prompt == 2 else config.prompt_words * 3 // 2
        if len(words) < first + length + 8:
            continue
        windows = sliding(
            passage.text,
            words[first][0],
            passage.end,
            prompt_words=length,
            answer_words=config.answer_words,
            stride=config.stride_words + config.stride_words // 2,
        )
        found += [_of_passage(passage, window, name) for window in windows]
    return found


def _of_passage(passage: Passage, window: Window, variant: str) -> Example:
    prompt, answer = window.of(passage.text)
    place = passage.source.split("[")[0]
    return Example(
        "text",
        prompt,
        answer,
        variant=variant,
        group=passage.group,
        work_id=passage.work_id,
        source=f"{place}[{window.start}:{window.middle}:{window.end}]",
    )


def windows_of_works(
    works: Sequence[Work], config: BuildConfig, lengths: Sequence[tuple[int, int]] = ()
) -> list[Example]:
    """Cut whole works at sentence starts (holdout; and what a model recites of a work).

    Args:
        works: the works.
        config: words of prompt and answer.
        lengths: other words of prompt and answer, taken in turn; none longer than those.
    """
    found: list[Example] = []
    for work in works:
        for window in at_sentences(
            work.text,
            prompt_words=config.prompt_words,
            answer_words=config.answer_words,
            gap=config.prompt_words + config.answer_words,
        ):
            if lengths:
                window = shortened(work.text, window, *lengths[len(found) % len(lengths)])
            prompt, answer = window.of(work.text)
            source = f"{work.work_id}[{window.start}:{window.middle}:{window.end}]"
            found.append(
                Example(
                    "text",
                    prompt,
                    answer,
                    group=source,
                    work_id=work.work_id,
                    source=source,
                )
            )
    return found


def window_of_document(document: Document, config: BuildConfig, variant: str) -> Example | None:
    """Cut one window, as long as those of forget, from a document; None if it is too short."""
    words = words_in(document.text, 0, len(document.text))
    if len(words) < config.prompt_words + 8:
        return None
    cut = words[: config.prompt_words + config.answer_words]
    window = Window(cut[0][0], cut[config.prompt_words - 1][1], cut[-1][1])
    prompt, answer = window.of(document.text)
    return Example(
        "text",
        prompt,
        answer,
        variant=variant,
        group=document.doc_id,
        source=document.source,
    )


def mismatched(
    forget: Sequence[Example], pool: Sequence[str], config: BuildConfig, kind: str
) -> list[Example]:
    """Pair each forget prompt with K answers from a pool of other answers.

    Answers of the same form and the nearest length are preferred; the choice is drawn by seed
    among the 16 nearest.

    Raises:
        InputError: the pool is empty.
    """
    if not pool:
        raise InputError(f"there are no {kind} answers to mismatch with", mend="Give --retain.")
    rng = generator(config.seed, "mismatch")
    found: list[Example] = []
    for example in forget:
        nearest = sorted(pool, key=lambda a: (abs(len(a) - len(example.answer)), a))
        options = pool if kind == "refusal" else nearest[:16]
        picks = rng.choice(len(options), size=config.mismatch_answers, replace=True)
        for number, pick in enumerate(picks):
            answer = options[int(pick)]
            found.append(
                replace(
                    example,
                    answer=answer,
                    variant=kind,
                    pair_of=example.example_id,
                    source=f"{example.source}#{number}",
                )
            )
    return found
