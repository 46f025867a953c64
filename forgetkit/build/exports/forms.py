"""Forget sets as rows of other tools: pure functions, a file name to its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from forgetkit.errors import InputError
from forgetkit.forget_set import PROBES, SPLITS, Example, ForgetSet

Rows = Sequence[dict[str, Any] | str]
"""Rows of a file: JSON objects, or lines of text."""


def trl(forget_set: ForgetSet) -> dict[str, Rows]:
    """Return preference pairs for TRL: forget answers rejected, mismatch answers chosen.

    The explicit-prompt preference type of TRL's "Dataset formats and types": strings where the
    prompt is plain text, messages where it is for a chat template. `retain.jsonl` and
    `holdout.jsonl` are of its prompt-completion type.

    Raises:
        InputError: no forget example has a mismatch answer.
    """
    answers = _answers(forget_set)
    pairs: list[dict[str, Any] | str] = [
        _asked(example)
        | {"chosen": _said(example, other), "rejected": _said(example, example.answer)}
        for example in forget_set.splits["forget"]
        for other in answers.get(example.example_id, ())
    ]
    if not pairs:
        raise InputError(
            "no forget example has another answer to prefer",
            mend="Build the forget set with a mismatch split.",
        )
    return {"preference.jsonl": pairs} | {
        f"{name}.jsonl": [
            _asked(e) | {"completion": _said(e, e.answer)} for e in forget_set.splits[name]
        ]
        for name in ("retain", "holdout")
    }


def _asked(example: Example) -> dict[str, Any]:
    if example.template == "chat":
        return {"prompt": [{"role": "user", "content": example.prompt}]}
    return {"prompt": example.prompt}


def _said(example: Example, answer: str) -> Any:
    if example.template == "chat":
        return [{"role": "assistant", "content": answer}]
    return answer


def open_unlearning(forget_set: ForgetSet) -> dict[str, Rows]:
    """Return the forget, retain and idk files of open-unlearning (locuslab/open-unlearning).

    Pairs have the columns `question` and `answer` that its QADataset reads, and `alternate` for
    its QAwithAlternateDataset; texts have `prompt` and `text`, for its CompletionDataset.
    `idk.jsonl` holds one answer a line, as plain text, which is how its QAwithIdkDataset reads
    it: the refusals, or whatever the mismatch split says instead.
    """
    answers = _answers(forget_set)
    is_text = forget_set.kind == "text"
    asked, said = ("prompt", "text") if is_text else ("question", "answer")

    def row(example: Example) -> dict[str, Any]:
        return {asked: example.prompt, said: example.answer}

    forget = [
        row(e) | {"alternate": next(iter(answers.get(e.example_id, ())), None)}
        for e in forget_set.splits["forget"]
    ]
    instead = (" ".join(e.answer.split()) for e in forget_set.splits["mismatch"])
    return {
        "forget.json": forget,
        "retain.json": [row(e) for e in forget_set.splits["retain"]],
        "holdout.json": [row(e) for e in forget_set.splits["holdout"]],
        "idk.jsonl": list(dict.fromkeys(line for line in instead if line)),
    }


def jsonl(forget_set: ForgetSet) -> dict[str, Rows]:
    """Return every split and probe as it is, all columns, a file each."""
    tables = {f"{name}.jsonl": forget_set.splits[name] for name in SPLITS}
    tables |= {f"probes/{name}.jsonl": forget_set.probes[name] for name in PROBES}
    return {
        name: [{"example_id": e.example_id} | asdict(e) for e in rows]
        for name, rows in tables.items()
    }


def _answers(forget_set: ForgetSet) -> dict[str, list[str]]:
    """Return the mismatch answers of each forget example, by its id."""
    found: dict[str, list[str]] = {}
    for example in forget_set.splits["mismatch"]:
        found.setdefault(example.pair_of, []).append(example.answer)
    return found


FORMS: Mapping[str, Callable[[ForgetSet], dict[str, Rows]]] = {
    "trl": trl,
    "open-unlearning": open_unlearning,
    "jsonl": jsonl,
}
