"""Shapes of ready data: which columns hold the prompt, what must go and what may stay.

Each is the shape in which a published data set comes. What has none of them is read as `corpus`
reads any row: prompt (or question) with answer (response, completion), or text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TURN = re.compile(r"\n\nAssistant:")


@dataclass(frozen=True)
class Said:
    """One answer of a row.

    Attributes:
        prompt: what was asked.
        answer: what was said.
        goes: it is what the data set calls wrong or harmful.
        right: what is right instead, if the row says so.
    """

    prompt: str
    answer: str
    goes: bool
    right: tuple[str, ...] = field(default=())


Values = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """The shape of a published data set.

    Attributes:
        name: as people know it.
        columns: that every row has.
        read: gives the answers of a row; raises ValueError with a reason where a row is bad.
        facts: its wrong answers are wrong facts.
        one_sided: it does not say what is wrong: where it is read to forget, all of it goes.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[Values], Iterator[Said]]
    facts: bool = False
    one_sided: bool = False


def normal(values: Values) -> dict[str, Any]:
    """Return a row with its names in lower case, spaces as underscores.

    >>> normal({"Best Answer": "No."})
    {'best_answer': 'No.'}
    """
    return {name.strip().lower().replace(" ", "_"): value for name, value in values.items()}


def text_of(values: Values, name: str) -> str:
    """Return a column that must hold text, perhaps an empty one: published answers sometimes are.

    Raises:
        ValueError: it holds something else.
    """
    value = values.get(name)
    if not isinstance(value, str):
        found = "nothing" if value is None else type(value).__name__
        raise ValueError(f"column {name} holds no text ({found})")
    return value


def truth_of(values: Values, name: str) -> bool:
    """Return a column that says yes or no: true/false, 1/0, yes/no.

    Raises:
        ValueError: it says something else.
    """
    word = str(values.get(name)).strip().lower()
    if word in ("true", "1", "1.0", "yes"):
        return True
    if word in ("false", "0", "0.0", "no"):
        return False
    raise ValueError(f"column {name} says neither yes nor no")


def _pku(values: Values) -> Iterator[Said]:
    """PKU-SafeRLHF (Ji et al. 2024, arXiv:2406.15513): two responses, each safe or not."""
    for number in (0, 1):
        answer = text_of(values, f"response_{number}")
        is_safe = truth_of(values, f"is_response_{number}_safe")
        yield Said(text_of(values, "prompt"), answer, not is_safe)


def _beavertails(values: Values) -> Iterator[Said]:
    """BeaverTails (Ji et al. 2023, arXiv:2307.04657)."""
    is_safe = truth_of(values, "is_safe")
    yield Said(text_of(values, "prompt"), text_of(values, "response"), not is_safe)


def _preference(values: Values) -> Iterator[Said]:
    """Prompt, chosen, rejected; `history` is the whole dialogue where there were more turns."""
    prompt = _last(values, "history" if values.get("history") else "prompt")
    prompt = prompt.removeprefix("Human: ") if prompt.count("Human:") == 1 else prompt
    chosen, rejected = _last(values, "chosen"), _last(values, "rejected")
    harmful = values.get("likely_harmful_compliance")
    goes = True if harmful is None else truth_of(values, "likely_harmful_compliance")
    if goes:
        yield Said(prompt, rejected, True, (chosen,))
    yield Said(prompt, chosen, False)


def _last(values: Values, name: str) -> str:
    """Return a column of text, or the last of its messages."""
    value = values.get(name)
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return text_of(value[-1], "content")
    return text_of(values, name)


def _dialogue(values: Values) -> Iterator[Said]:
    """HH-RLHF (Bai et al. 2022, arXiv:2204.05862): two dialogues with another last answer."""
    cut = {}
    for name in ("chosen", "rejected"):
        dialogue = text_of(values, name)
        places = [match for match in _TURN.finditer(dialogue)]
        if not places:
            raise ValueError(f"column {name} holds no dialogue of Human and Assistant")
        asked = dialogue[: places[-1].start()].strip()
        single = asked.count("Human:") == 1
        cut[name] = asked.removeprefix("Human:").strip() if single else asked
        cut[f"{name} answer"] = dialogue[places[-1].end() :].strip()
    yield Said(cut["rejected"], cut["rejected answer"], True, (cut["chosen answer"],))
    yield Said(cut["chosen"], cut["chosen answer"], False)


def _contrast(prompt: str, right: str, wrong: str) -> Callable[[Values], Iterator[Said]]:
    """HaluEval (Li et al. 2023, arXiv:2305.11747): a right answer and a hallucinated one."""

    def read(values: Values) -> Iterator[Said]:
        asked, said = text_of(values, prompt), text_of(values, right)
        yield Said(asked, text_of(values, wrong), True, (said,))
        yield Said(asked, said, False)

    return read


def _judged(prompt: str, answer: str) -> Callable[[Values], Iterator[Said]]:
    """HaluEval, general queries: one answer, hallucinated or not."""

    def read(values: Values) -> Iterator[Said]:
        goes = truth_of(values, "hallucination")
        yield Said(text_of(values, prompt), text_of(values, answer), goes)

    return read


def _truthful(values: Values) -> Iterator[Said]:
    """TruthfulQA (Lin et al. 2022, arXiv:2109.07958): lists, or one cell cut at semicolons."""
    prompt, best = text_of(values, "question"), text_of(values, "best_answer")
    right = tuple(dict.fromkeys([best, *_list(values, "correct_answers")]))
    for wrong in _list(values, "incorrect_answers"):
        yield Said(prompt, wrong, True, right)
    yield Said(prompt, best, False)


def _list(values: Values, name: str) -> list[str]:
    value = values.get(name)
    if isinstance(value, str):
        value = value.split(";")
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"column {name} holds no list of texts")
    return [one.strip() for one in value if one.strip()]


def _messages(values: Values) -> Iterator[Said]:
    """Chat messages, the last by the assistant."""
    turns = values["messages"]
    if not isinstance(turns, list) or len(turns) < 2 or not all(isinstance(t, dict) for t in turns):
        raise ValueError("column messages holds no dialogue")
    if turns[-1].get("role") != "assistant":
        raise ValueError("the last message is not by the assistant")
    asked = [text_of(turn, "content") for turn in turns[:-1] if turn.get("role") != "system"]
    yield Said("\n\n".join(asked), text_of(turns[-1], "content"), True)


def _instruction(values: Values) -> Iterator[Said]:
    """Instruction, input, output (Taori et al. 2023, Alpaca)."""
    more = values.get("input") or ""
    prompt = text_of(values, "instruction")
    yield Said(f"{prompt}\n\n{more}" if more else prompt, text_of(values, "output"), True)


_SAFE = ("response_0", "response_1", "is_response_0_safe", "is_response_1_safe")
SHAPES = (
    Shape("PKU-SafeRLHF", ("prompt", *_SAFE), _pku),
    Shape("BeaverTails", ("prompt", "response", "is_safe"), _beavertails),
    Shape("preference pairs", ("prompt", "chosen", "rejected"), _preference),
    Shape("HH-RLHF", ("chosen", "rejected"), _dialogue),
    Shape(
        "HaluEval",
        ("question", "right_answer", "hallucinated_answer"),
        _contrast("question", "right_answer", "hallucinated_answer"),
        facts=True,
    ),
    Shape(
        "HaluEval dialogue",
        ("dialogue_history", "right_response", "hallucinated_response"),
        _contrast("dialogue_history", "right_response", "hallucinated_response"),
        facts=True,
    ),
    Shape(
        "HaluEval summaries",
        ("document", "right_summary", "hallucinated_summary"),
        _contrast("document", "right_summary", "hallucinated_summary"),
        facts=True,
    ),
    Shape(
        "HaluEval general",
        ("user_query", "chatgpt_response", "hallucination"),
        _judged("user_query", "chatgpt_response"),
        facts=True,
    ),
    Shape(
        "judged answers",
        ("question", "answer", "hallucination"),
        _judged("question", "answer"),
        facts=True,
    ),
    Shape(
        "TruthfulQA",
        ("question", "best_answer", "correct_answers", "incorrect_answers"),
        _truthful,
        facts=True,
    ),
    Shape("chat messages", ("messages",), _messages, one_sided=True),
    Shape("instructions", ("instruction", "output"), _instruction, one_sided=True),
)
"""The more particular ones first."""


def shape_of(values: Values) -> Shape | None:
    """Return the shape whose columns a row has, or None.

    >>> shape_of({"Chosen": "a", "rejected": "b"}).name
    'HH-RLHF'
    """
    names = normal(values).keys()
    return next((shape for shape in SHAPES if names >= set(shape.columns)), None)
