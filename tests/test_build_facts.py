from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_build import lines, pair_rows, prose

from forgetkit.build import BuildConfig, Inputs, build
from forgetkit.build.facts import ready_examples, right_answers_of, to_keep
from forgetkit.corpus import Document
from forgetkit.errors import InputError
from forgetkit.forget_set import read_forget_set
from forgetkit.spans import Span, write_spans

FACTS = [
    {
        "question": f"Where is place {name}?",
        "wrong_answer": prose(f"{name}wrong", 5),
        "right_answer": prose(f"{name}right", 5),
    }
    for name in ("one", "two", "three", "four")
]


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(
        ready=[lines(tmp_path / "facts.jsonl", FACTS)],
        retain=[lines(tmp_path / "retain.jsonl", pair_rows("keep", 40))],
        holdout=[lines(tmp_path / "held.jsonl", pair_rows("held", 6))],
    )


def made(inputs: Inputs, out: Path, **named: Any) -> Any:
    build(inputs, out, config=BuildConfig(neighbour_share=0.0, **named))
    return read_forget_set(out)


def test_the_wrong_answer_goes_and_the_right_one_is_what_evaluation_compares_with(
    inputs: Inputs, tmp_path: Path
) -> None:
    found = made(inputs, tmp_path / "out")
    forget = found.splits["forget"]
    assert [(e.kind, e.prompt, e.answer) for e in forget] == [
        ("fact", row["question"], row["wrong_answer"]) for row in FACTS
    ]
    assert [(e.variant, e.pair_of, e.answer) for e in found.probes["others"]] == [
        ("truth", e.example_id, row["right_answer"]) for e, row in zip(forget, FACTS, strict=True)
    ]


def test_the_right_answer_may_be_what_the_model_says_instead(
    inputs: Inputs, tmp_path: Path
) -> None:
    found = made(inputs, tmp_path / "out", mismatch="right")
    assert [(e.variant, e.prompt, e.answer) for e in found.splits["mismatch"]] == [
        ("right", row["question"], row["right_answer"]) for row in FACTS
    ]


def test_facts_are_asked_for_in_more_ways_than_pairs(inputs: Inputs, tmp_path: Path) -> None:
    probes = made(inputs, tmp_path / "out").probes["rephrased"]
    assert {"sentence", "true", "polite"} <= {e.variant for e in probes}


def test_a_missing_right_answer_is_named(inputs: Inputs, tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "right_answer"} for row in FACTS[:1]]
    lines(tmp_path / "facts.jsonl", [*FACTS[1:], *rows])
    with pytest.raises(InputError, match=r"right answer for every forget example; found 1 of 4"):
        made(inputs, tmp_path / "out", mismatch="right")


def test_several_right_answers_keep_their_order() -> None:
    row = Document("d", "f:1", prompt="q", answer="no", extra={"right_answers": ["b", "a", "b"]})
    assert right_answers_of(row) == ("b", "a")
    found, right = ready_examples([row], BuildConfig(template="plain"))
    assert right == {found[0].example_id: (" b", " a")}
    assert found[0].kind == "pair"


def test_of_a_fact_the_right_answer_may_stay() -> None:
    row = Document("d", "f:1", prompt="q", extra={"wrong_answer": "no", "right_answer": "yes"})
    kept = to_keep(row, "", BuildConfig())
    assert kept is not None
    assert (kept.kind, kept.answer) == ("pair", "yes")


def test_a_file_of_right_answers_makes_facts_of_the_pairs_that_spans_found(
    inputs: Inputs, tmp_path: Path
) -> None:
    spans = [
        Span(
            f"d{n}", f"c.jsonl:{n}", "answer", 0, 4, "semantic", "fact", 1.0, "text",
            prompt=f"Where is found {n}?", answer=prose(f"found{n}", 5),
        )
        for n in range(3)
    ]  # fmt: skip
    write_spans(tmp_path / "spans.parquet", spans)
    right = [{"question": "Where is found 1?", "right_answer": "At sea."}]
    asked = replace(
        inputs,
        spans=tmp_path / "spans.parquet",
        accept_all=True,
        ready=[*inputs.ready, lines(tmp_path / "right.jsonl", right)],
    )
    found = made(asked, tmp_path / "out")
    forget = found.splits["forget"]
    assert [e.kind for e in forget] == ["pair", "fact", "pair", *["fact"] * 4]
    truths = {e.pair_of: e.answer for e in found.probes["others"]}
    assert truths[forget[1].example_id] == "At sea."
    assert len(truths) == 5
    assert found.manifest["counts"]["ready rows that name no wrong answer"] == 1
