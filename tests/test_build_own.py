"""What the target model itself says to ordinary prompts, as the retain split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgetkit.build import BuildConfig, BuildResult, Inputs, build, plan_build
from forgetkit.errors import InputError
from forgetkit.forget_set import Example, read_forget_set
from forgetkit.lm.encode import render_prompt
from forgetkit.lm.generate import continuations
from forgetkit.lm.load import load_model

TOKENS = 8


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def pairs(name: str, count: int) -> list[dict[str, Any]]:
    words = [" ".join(f"{name}{number}w{n}" for n in range(4)) for number in range(count)]
    return [
        {"id": f"{name}{number}", "prompt": f"{text}?", "answer": f"{text}!"}
        for number, text in enumerate(words)
    ]


@pytest.fixture
def inputs(tmp_path: Path, model: str) -> Inputs:
    asked = [{"id": f"ask{n}", "prompt": f"Say a thing about ask{n} now"} for n in range(6)]
    return Inputs(
        ready=[lines(tmp_path / "forget.jsonl", pairs("go", 6))],
        retain=[
            lines(tmp_path / "retain.jsonl", pairs("stay", 30)),
            lines(tmp_path / "asked.jsonl", asked),
        ],
        holdout=[lines(tmp_path / "holdout.jsonl", pairs("hold", 6))],
        general=[lines(tmp_path / "general.jsonl", [{"text": "a b c d e f g " * 5}])],
        model=model,
    )


def made(inputs: Inputs, out: Path, **named: Any) -> BuildResult:
    fixed: dict[str, Any] = {
        "rank_by_memorization": False,
        "neighbour_share": 0.0,
        "retain_answers": "own",
        "own_answer_tokens": TOKENS,
        "allow_unlike_holdout": True,
        "probe_size": 5,
    }
    return build(inputs, out, config=BuildConfig(**(fixed | named)))


@pytest.mark.parametrize("template", ["chat", "plain"])
def test_retain_answers_are_what_the_model_says(
    inputs: Inputs, model: str, tmp_path: Path, template: str
) -> None:
    made(inputs, tmp_path / "set", template=template)
    content = read_forget_set(tmp_path / "set")
    retain = content.splits["retain"]
    assert {e.group[:3] for e in retain} == {"sta", "ask"}
    target = load_model(model)
    prompts = [render_prompt(target.tokenizer, e.prompt, e.template) for e in retain]
    said = continuations(target, prompts, max_new_tokens=TOKENS)
    for example, found in zip(retain, said, strict=True):
        space = " " if template == "plain" else ""
        assert example.answer == space + found.text.strip()
        cut = len(found.ids) == TOKENS
        assert example.answer_mask == (((0, len(example.answer) - 1),) if cut else ())
    assert any(e.answer_mask for e in retain)


def test_probes_keep_the_answers_of_their_rows(inputs: Inputs, tmp_path: Path) -> None:
    made(inputs, tmp_path / "own")
    made(inputs, tmp_path / "given", retain_answers="given")
    probes = [read_forget_set(tmp_path / name).probes["retain"] for name in ("own", "given")]
    assert [e.answer for e in probes[0]] == [e.answer for e in probes[1]]
    assert all(e.answer.endswith("!") for e in probes[0])


def test_rows_without_an_answer_are_left_out_of_given_ones(inputs: Inputs, tmp_path: Path) -> None:
    found = made(inputs, tmp_path / "set", retain_answers="given")
    assert found.counts["ordinary rows of another form or too short"] == 6
    groups = {e.group for e in read_forget_set(tmp_path / "set").splits["retain"]}
    assert not any(group.startswith("ask") for group in groups)


def test_an_answer_that_says_what_must_go_is_not_kept(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forgetkit.build import retain

    secret = " ".join(f"secret{n}" for n in range(20))
    going = [{"id": "s", "prompt": "Tell it", "answer": secret}, *pairs("go", 6)]
    given = replace(inputs, ready=[lines(inputs.ready[0], going)])

    def says(_: object, asked: Sequence[Example], *__: object) -> list[Example]:
        leaks = [replace(e, answer=f"It is {secret}") for e in asked[:3]]
        return [*leaks, *(replace(e, answer=f"well {e.group} then") for e in asked[3:])]

    monkeypatch.setattr(retain, "with_own_answers", says)
    found = made(given, tmp_path / "set")
    kept = read_forget_set(tmp_path / "set").splits["retain"]
    assert found.counts["retain rows whose own answer stands elsewhere"] == 3
    assert kept
    assert not any("secret" in e.answer for e in kept)


def test_protected_text_and_rows_of_other_tables_are_not_kept_and_stock_phrases_are(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forgetkit.build import retain

    work = " ".join(f"tale{n}" for n in range(300))
    (tmp_path / "work.txt").write_text(work, encoding="utf-8")
    general = json.loads(inputs.general[0].read_text("utf-8"))["text"].strip()
    stock = "I am sorry but as a small model I have no way to say very much about"

    def says(_: object, asked: Sequence[Example], *__: object) -> list[Example]:
        first, second, *others = asked
        recited = replace(first, answer=" ".join(work.split()[200:220]))
        return [recited, replace(second, answer=general)] + [
            replace(e, answer=f"{stock} {e.group}") for e in others
        ]

    monkeypatch.setattr(retain, "with_own_answers", says)
    found = made(replace(inputs, works=[tmp_path / "work.txt"]), tmp_path / "set")
    kept = read_forget_set(tmp_path / "set").splits["retain"]
    assert found.counts["retain rows whose own answer holds protected text"] == 1
    assert found.counts["retain rows whose own answer stands elsewhere"] == 1
    assert len(kept) > 10
    assert all(e.answer.startswith(stock) for e in kept)


def test_own_answers_need_a_model(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model"):
        made(replace(inputs, model=None), tmp_path / "set")
    with pytest.raises(InputError, match="model"):
        plan_build(
            replace(inputs, model=None),
            tmp_path / "set",
            config=BuildConfig(retain_answers="own", rank_by_memorization=False),
        )


def test_running_text_has_no_own_answers(inputs: Inputs, tmp_path: Path) -> None:
    rows = [{"text": " ".join(f"t{n}w{k}" for k in range(60))} for n in range(6)]
    given = replace(inputs, ready=[lines(inputs.ready[0], rows)])
    with pytest.raises(InputError, match="retain_answers=own"):
        made(given, tmp_path / "set")
