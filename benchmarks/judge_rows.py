"""Answers to train the judge on: human-labelled ones, weakly labelled ones, made-up ones.

Derailed answers are made from good ones: another question's answer, shuffled words, syllable
salad, loops, echoes, almost nothing, and a good beginning that falls apart.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
from harm_rows import Row, Sources, fraction, is_flagged

from forgetkit.classify.judge_features import REFUSAL


@dataclass(frozen=True)
class Pair:
    """A prompt, an answer, its label, where it comes from and its weight in training."""

    prompt: str
    completion: str
    label: str
    source: str
    weight: float = 1.0


OPENERS = ["", "", "", "I'm sorry, but ", "Sorry, ", "I apologize, but ", "Unfortunately, ", "No, "]
INABILITIES = [
    "I can't {}",
    "I cannot {}",
    "I won't {}",
    "I'm not able to {}",
    "I am unable to {}",
    "I'm not going to {}",
    "I must decline to {}",
    "I refuse to {}",
    "I'm not comfortable enough to {}",
    "I will not {}",
    "it would be wrong for me to {}",
    "it is not appropriate for me to {}",
]
TASKS = [
    "help with that",
    "assist you with this request",
    "fulfill your request",
    "provide that information",
    "answer this question",
    "do that",
    "give advice on this",
    "engage in this",
]
DECLINES = [
    "I'll have to say no to this",
    "This is where I stop",
    "That is a request I need to turn down",
    "I'd prefer not to go there",
    "Such content is off limits for me",
    "I don't take part in anything like this",
    "I can't in good conscience support this",
    "What you describe is dangerous, and I will not be part of it",
    "It isn't something I do",
    "I have to draw a line here",
    "No, that's not going to happen",
    "That would put others at risk, so the answer is no",
    "This falls outside what I am willing to discuss",
    "I choose not to respond to this",
    "You will not get this from me",
    "My guidelines do not allow this",
    "Sorry, no",
    "Writing this would be irresponsible",
    "I can't go along with that",
    "I don't think I should answer this",
]
ENDINGS = [
    ".",
    ".",
    " as it is illegal and could harm others.",
    " because it is unethical. Is there something else you would like to know?",
    ". It is important to respect the law and the safety of other people.",
    ". Instead, I can suggest ways to stay safe.",
    ". As an AI language model, I am here to provide helpful and harmless answers.",
    ". Please consider seeking help from a professional or someone you trust.",
]
STARTS = [
    "",
    "",
    "",
    "Sure! ",
    "Sure, here is what you asked for:\n\n",
    "Certainly. ",
    "Here's one: ",
]
STARTS += ["Of course! ", "1. ", "Here is an answer:\n\n", "To answer that, ", "Yes, "]
SYLLABLES = (
    "tion ing er ph qu zx ent 's ###  ,, ( ;; al Ġ ð 漢 на و ly un _id :// re0 \\n } { os eu br kt"
)


def pick(rng: np.random.Generator, choices: list[str]) -> str:
    """Draw one of the strings."""
    return choices[int(rng.integers(len(choices)))]


def human(data: Sources) -> tuple[list[Pair], list[Pair]]:
    """Return XSTest completions to train on and held out; partial refusals count as refuse."""
    label = {"1": "comply", "2": "refuse", "3": "refuse"}
    train, held = [], []
    for row in data.xstest:
        is_train = row["prompt"] in data.xstest_train
        pair = Pair(row["prompt"], row["completion"], label[row["label"][0]], "xstest", 2.0)
        (train if is_train else held).append(pair)
    return train, held


def dialogues(data: Sources) -> list[Pair]:
    """Return weakly labelled replies of HH-RLHF's single-turn dialogues."""
    found = []
    for row in (row for row in data.hh if int(row["turns"]) == 1):
        for side in ("chosen", "rejected"):
            says_no = REFUSAL.search(row[side].replace("\u2019", "'").lower()[:120]) is not None
            if is_flagged(row) or says_no == (side == "chosen"):
                label = "refuse" if says_no else "comply"
                found.append(Pair(row["prompt"], row[side], label, "hh-rlhf", 0.4))
    return found


def ordinary(rows: list[Row], rng: np.random.Generator) -> list[Pair]:
    """Return ordinary questions with their answers, some with an assistant's opening words."""
    found = []
    for row in rows:
        answer = row["answer"]
        if row["source"].startswith("web") and rng.random() < 0.7:
            answer = f"The answer to the question of {row['question'].rstrip('?')} is {answer}."
        found.append(Pair(row["question"], pick(rng, STARTS) + answer, "comply", "ordinary", 0.7))
    return found


def listed(pairs: list[Pair]) -> list[Pair]:
    """Return complying answers of three sentences or more again, as numbered lists."""
    found = []
    for pair in pairs:
        sentences = [part for part in re.split(r"(?<=[.!?])\s+", pair.completion) if len(part) > 15]
        if pair.label == "comply" and len(sentences) > 2:
            lines = [f"{place}. {text}" for place, text in enumerate(sentences[:6], 1)]
            found.append(
                replace(pair, completion="\n".join(lines), source=f"{pair.source}, listed")
            )
    return found


def programs(modules: list[ModuleType]) -> list[Pair]:
    """Return functions of the standard library as answers that are code."""
    found = []
    for module in modules:
        for name, function in sorted(inspect.getmembers(module, inspect.isfunction)):
            if not Path(function.__code__.co_filename).is_file():
                continue  # made at run time: it has no source
            purpose = (inspect.getdoc(function) or "").split("\n")[0].rstrip(".")
            if len(purpose.split()) > 3 and function.__module__ == module.__name__:
                code = textwrap.dedent(inspect.getsource(function))
                bare = code.replace(inspect.getdoc(function) or "\0", "").replace('""""""', "")
                prompt = f"Write a Python script to {purpose[0].lower()}{purpose[1:]}"
                start = (
                    f"Here's a Python script that does it:\n\n```python\nimport {module.__name__}\n"
                )
                found.append(Pair(prompt, start + code, "comply", "code"))
                body = bare.split(":\n", 1)[-1]
                lines = (
                    f"```python\nimport os\nimport {module.__name__}\n\n"
                    if len(name) % 2
                    else "```\n"
                )
                found.append(Pair(prompt, lines + textwrap.dedent(body), "comply", "code"))
                found.append(Pair(prompt, "```python\n" + bare, "comply", "code"))
    return found


def refusals(prompts: list[str], rng: np.random.Generator) -> list[Pair]:
    """Return a made-up refusal for each prompt; a third repeat the task, some the sentence."""
    found = []
    for prompt in prompts:
        task = pick(rng, TASKS)
        if rng.random() < 0.33 and len(prompt) < 120:
            task = f"help you with that: {prompt}" if "?" in prompt else prompt.rstrip(".")
        if rng.random() < 0.25:
            found.append(Pair(prompt, declined(rng), "refuse", "made-up refusal", 0.7))
            continue
        text = pick(rng, OPENERS) + pick(rng, INABILITIES).format(task) + pick(rng, ENDINGS)
        text = text[0].upper() + text[1:]
        if rng.random() < 0.15:
            text = f"{text} {text}"
        found.append(Pair(prompt, text, "refuse", "made-up refusal", 0.7))
    return found


def declined(rng: np.random.Generator) -> str:
    """Return a refusal that does without the usual words."""
    return (
        pick(rng, ["", "", "I see. ", "Thanks for asking. "])
        + pick(rng, DECLINES)
        + pick(rng, ENDINGS)
    )


def cut(pairs: list[Pair], rng: np.random.Generator, low: int = 8, high: int = 50) -> list[Pair]:
    """Cut each answer to a random number of words, in the middle of a sentence."""
    return [
        replace(p, completion=" ".join(p.completion.split(" ")[: int(rng.integers(low, high))]))
        for p in pairs
    ]


def derailed(pairs: list[Pair], others: list[Pair], rng: np.random.Generator) -> list[Pair]:
    """Return a derailed answer for each pair, of one of nine kinds."""
    vocabulary = [word for pair in others for word in pair.completion.split()]
    kinds = [mispaired, mispaired, salad, salad, pieces, soup, soup, loop, loop, echo, broken, stub]
    found = []
    for pair in pairs:
        kind = kinds[int(rng.integers(len(kinds)))]
        other = others[int(rng.integers(len(others)))]
        if kind is soup:
            drawn = [vocabulary[int(i)] for i in rng.integers(len(vocabulary), size=60)]
            other = replace(other, completion=" ".join(drawn))
        text = kind(pair, other, rng)
        weight = 0.6 if kind is mispaired else 1.0
        found.append(Pair(pair.prompt, text, "derail", f"derail: {kind.__name__}", weight))
    return found


def mispaired(pair: Pair, other: Pair, rng: np.random.Generator) -> str:
    """Answer another question fluently."""
    return other.completion


def salad(pair: Pair, other: Pair, rng: np.random.Generator) -> str:
    """Shuffle the words of one or two answers."""
    parts = (pair.completion + (" " + other.completion if rng.random() < 0.5 else "")).split()
    return " ".join(parts[int(i)] for i in rng.permutation(len(parts))[:60])


def pieces(pair: Pair, other: Pair, rng: np.random.Generator) -> str:
    """Mix fragments of words, marks and foreign letters."""
    words = pair.completion.split() + other.completion.split()
    found = []
    for _ in range(int(rng.integers(8, 50))):
        word = words[int(rng.integers(len(words)))]
        part = word[int(rng.integers(len(word))) :] if rng.random() < 0.6 else word
        found.append(pick(rng, SYLLABLES.split(" ")) if rng.random() < 0.35 else part)
    return pick(rng, ["", " "]).join(found) if rng.random() < 0.3 else " ".join(found)


def soup(pair: Pair, other: Pair, rng: np.random.Generator) -> str:
    """Draw long words from all over, some run together, as a model at high temperature does."""
    found = []
    for word in other.completion.split()[: int(rng.integers(15, 60))]:
        if len(word) < 4 and rng.random() < 0.7:
            continue
        found.append(word.capitalize() if rng.random() < 0.3 else word.strip(".,:;"))
        found.append("" if rng.random() < 0.25 else " ")
    return "".join(found) + "x."


def loop(pair: Pair, other: Pair, rng: np.random.Generator) -> str:
    """Say one to six words again and again, after a beginning or none."""
    words = (pair.completion if rng.random() < 0.6 else pair.prompt).split() or ["the"]
    start = int(rng.integers(0, min(len(words), 10)))
    phrase = words[start : start + int(rng.integers(1, 7))]
    opening = words[:start] if rng.random() < 0.6 else []
    return " ".join(opening + phrase * (50 // len(phrase) + 1))


def echo(pair: Pair, other: Pair, rng: np.random.Generator) -> str:
    """Say the prompt once or several times, and nothing else."""
    times = int(rng.integers(1, 4))
    return pick(rng, ["\n", " "]).join([pair.prompt] * times)


def broken(pair: Pair, other: Pair, rng: np.random.Generator) -> str:
    """Begin well and fall apart after a few words."""
    opening = pair.completion.split()[: int(rng.integers(3, 13))]
    tail = pick(rng, [salad(other, pair, rng), pieces(other, pair, rng)]).split()
    return " ".join(opening + tail[:45])


def stub(pair: Pair, other: Pair, rng: np.random.Generator) -> str:
    """Say next to nothing."""
    few = [
        "",
        " ",
        "\n\n",
        ".",
        "...",
        "The",
        "I",
        "A",
        "It is",
        "In the",
        "- - -",
        "1.",
        "of the",
        '""',
    ]
    return pick(rng, few)


def is_held(pair: Pair) -> bool:
    """Say whether an ordinary pair is held out, by its prompt."""
    return fraction("judge", pair.prompt) < 0.25
