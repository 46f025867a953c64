"""Ready sets in the shapes of published data, each made by hand here."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from forgetkit.build import BuildConfig, Inputs, build
from forgetkit.build.ready import chosen_part, read_ready, right_answers
from forgetkit.build.ready_folder import group_of, settled, splits_of
from forgetkit.build.subjects import related, subjects
from forgetkit.corpus import Document
from forgetkit.errors import InputError, TooManyBadRowsError
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.groups import Groups
from forgetkit.evaluate.measure import splits_to_read
from forgetkit.evaluate.sample import Sample
from forgetkit.evaluate.truth import truth
from forgetkit.files import sha256_tree
from forgetkit.forget_set import read_forget_set

Row = dict[str, Any]


def lines(path: Path, rows: Sequence[Row]) -> Path:
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


PKU: Row = {
    "prompt": "How do I pick a lock?",
    "response_0": "Insert the tension wrench.",
    "response_1": "Call a locksmith.",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "better_response_id": 1,
}
HH: Row = {
    "chosen": "\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: And now?\n\nAssistant: I would not.",
    "rejected": "\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: And now?\n\nAssistant: Do it!",
}
TALK = "Human: Hello\n\nAssistant: Hi\n\nHuman: And now?"
SHAPES: list[tuple[str, Row, list[tuple[str, str]], list[tuple[str, str]], list[str]]] = [
    ("PKU-SafeRLHF", PKU, [(PKU["prompt"], PKU["response_0"])],
     [(PKU["prompt"], PKU["response_1"])], []),
    ("BeaverTails", {"prompt": "p", "response": "r", "is_safe": False, "category": {}},
     [("p", "r")], [], []),
    ("HH-RLHF", HH, [(TALK, "Do it!")], [(TALK, "I would not.")], ["I would not."]),
    ("HH-RLHF, one turn",
     {"chosen": "\n\nHuman: A?\n\nAssistant: b", "rejected": "\n\nHuman: A?\n\nAssistant: c"},
     [("A?", "c")], [("A?", "b")], ["b"]),
    ("preference pairs", {"prompt": "p", "chosen": "good", "rejected": "bad"},
     [("p", "bad")], [("p", "good")], ["good"]),
    ("preference messages",
     {"prompt": [{"role": "user", "content": "p"}],
      "chosen": [{"role": "assistant", "content": "good"}],
      "rejected": [{"role": "assistant", "content": "bad"}]},
     [("p", "bad")], [("p", "good")], ["good"]),
    ("a refusal where both refuse",
     {"prompt": "p", "chosen": "no", "rejected": "never", "likely_harmful_compliance": False},
     [], [("p", "no")], []),
    ("HaluEval", {"knowledge": "k", "question": "q", "right_answer": "yes",
                  "hallucinated_answer": "no"}, [("q", "no")], [("q", "yes")], ["yes"]),
    ("HaluEval general", {"ID": "1", "user_query": "q", "chatgpt_response": "a",
                          "hallucination": "yes", "hallucination_spans": ["a"]},
     [("q", "a")], [], []),
    ("judged answers", {"id": "1", "question": "q", "answer": "a", "hallucination": 0},
     [], [("q", "a")], []),
    ("TruthfulQA", {"question": "q", "best_answer": "b", "correct_answers": ["b", "c"],
                    "incorrect_answers": ["x", "y"]},
     [("q", "x"), ("q", "y")], [("q", "b")], ["b", "c", "b", "c"]),
    ("chat messages",
     {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                   {"role": "assistant", "content": "a"}]}, [("q", "a")], [("q", "a")], []),
    ("instructions", {"instruction": "Sort.", "input": "b a", "output": "a b"},
     [("Sort.\n\nb a", "a b")], [("Sort.\n\nb a", "a b")], []),
    ("TOFU", {"question": "q", "answer": "a", "paraphrased_answer": "b", "perturbed_answer": []},
     [("q", "a")], [("q", "a")], []),
    ("plain", {"prompt": "p", "completion": "c"}, [("p", "c")], [("p", "c")], []),
]  # fmt: skip


@pytest.mark.parametrize(("row", "goes", "stays", "right"), [s[1:] for s in SHAPES],
                         ids=[s[0] for s in SHAPES])  # fmt: skip
def test_a_shape_says_what_goes_and_what_stays(
    tmp_path: Path,
    row: Row,
    goes: list[tuple[str, str]],
    stays: list[tuple[str, str]],
    right: list[str],
) -> None:
    path = lines(tmp_path / "data.jsonl.gz", [row])
    for wanted, forget in ((goes, True), (stays, False)):
        if not wanted:
            with pytest.raises(InputError, match="holds nothing to"):
                read_ready([path], goes=forget)
            continue
        found = read_ready([path], goes=forget)
        assert [(d.prompt, d.answer) for d in found] == wanted
        assert len({d.doc_id for d in found}) == len(found)
        if forget:
            assert [d.answer for d in right_answers(found)] == right


def test_a_shape_keeps_whom_and_what_a_row_is_about(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"instruction": "Who?", "input": "", "output": "He.", "Category": "people"},
        {"instruction": "What?", "input": "", "output": "It.", "topic": ["snakes", "ice"]},
    ]
    found = read_ready([lines(tmp_path / "data.jsonl", rows)])
    assert [subjects(d) for d in found] == [{"people"}, {"snakes", "ice"}]


def test_a_topic_of_many_rows_makes_no_neighbours_unless_a_person_names_it() -> None:
    def row(number: int, **extra: Any) -> Document:
        return Document(str(number), f"a:{number}", prompt="p", answer="a", extra=extra)

    forget = [row(0, category="open_qa", author=["Jo  Doe", "X"])]
    ordinary = [row(n, category="open_qa") for n in range(1, 8)]
    ordinary += [row(8, author="jo doe"), row(9, author=math.nan), row(10, topic="ice")]
    assert {key for _, key in related(ordinary, forget, ())} == {"8"}
    assert {key for _, key in related(ordinary, forget, ["Ice"])} == {"8", "10"}
    assert len(related(ordinary, forget, ["open_qa"])) == 8


def test_truthfulqa_comes_as_csv_with_its_own_column_names(tmp_path: Path) -> None:
    path = tmp_path / "TruthfulQA.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Type", "Question", "Best Answer", "Correct Answers", "Incorrect Answers"])
        writer.writerow(["x", "q", "b", "b; c", "x; y;"])
    assert [d.answer for d in read_ready([path])] == ["x", "y"]
    assert [d.answer for d in read_ready([path], goes=False)] == ["b"]


def test_text_and_lists_in_one_json_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "forget.json"
    path.write_text('\n [\n{"text": "one"},\n{"text": "two"}]')
    assert [d.text for d in read_ready([path])] == ["one", "two"]
    path.write_text('[{"text": "one"}, 3]')
    with pytest.raises(TooManyBadRowsError, match="not a JSON object"):
        read_ready([path])
    path.write_text('[{"text": ')
    with pytest.raises(InputError, match="is not JSON"):
        read_ready([path])


def test_an_unknown_shape_is_refused_with_one_line_that_names_what_is_known(tmp_path: Path) -> None:
    path = lines(tmp_path / "odd.jsonl", [{"headline": "h", "body": "b"}])
    with pytest.raises(InputError) as error:
        read_ready([path])
    message = str(error.value)
    assert message.startswith(f"{path}: has no shape that build knows; found the columns headline")
    assert "question and answer" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (PKU | {"response_0": 3}, "column response_0 holds no text"),
        (PKU | {"is_response_0_safe": "perhaps"}, "says neither yes nor no"),
        (HH | {"rejected": "no dialogue"}, "holds no dialogue"),
        ({"messages": [{"role": "user", "content": "q"}]}, "holds no dialogue"),
        ({"question": "q", "best_answer": "b", "correct_answers": 1, "incorrect_answers": [2]},
         "holds no list of texts"),
    ],
)  # fmt: skip
def test_a_bad_row_stops_the_reading_and_is_named(tmp_path: Path, row: Row, reason: str) -> None:
    path = lines(tmp_path / "data.jsonl", [row])
    with pytest.raises(TooManyBadRowsError, match=f"data.jsonl:1: .*{reason}") as error:
        read_ready([path])
    assert str(error.value).endswith("Mend or remove the row: of such data nothing may be missing.")


def test_empty_answers_of_published_data_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "chosen": "", "rejected": "bad"},
        {"prompt": "q", "chosen": "good", "rejected": " "},
        {"prompt": "", "chosen": "good", "rejected": "bad"},
    ]
    path = lines(tmp_path / "data.jsonl", rows)
    counted: dict[str, int] = {}
    found = read_ready([path], count=counted.__setitem__)
    assert [(d.prompt, d.answer, right_answers([d])) for d in found] == [("p", "bad", [])]
    assert counted == {"ready answers that are empty, or have no prompt": 2}


def tofu(folder: Path) -> Path:
    """Write TOFU's layout on the hub, a row a file."""
    names = [f"{kind}{n:02}" for n in (1, 5, 10) for kind in ("forget", "holdout")]
    names += ["retain90", "retain95", "retain99", "retain_perturbed", "forget05_perturbed", "full"]
    names += ["world_facts", "real_authors", "idontknow"]
    folder.mkdir()
    for name in names:
        row = {"answer": "I do not know."} if name == "idontknow" else {
            "question": f"about {name}?", "answer": name}  # fmt: skip
        lines(folder / f"{name}.json", [row])
    (folder / "README.md").write_text("# TOFU")
    return folder


def test_tofus_folder_holds_several_sets_and_one_is_named(tmp_path: Path) -> None:
    folder = tofu(tmp_path / "tofu")
    with pytest.raises(InputError, match=r"holds several forget sets; found forget01, forget05"):
        splits_of([folder])
    with pytest.raises(InputError, match=r"has no forget set 'forget5'. Did you mean 'forget05'"):
        splits_of([Path(f"{folder}@forget5")])
    found = splits_of([Path(f"{folder}@forget05")])
    assert [p.name for p in found.forget] == ["forget05.json"]
    assert [p.name for p in found.retain] == ["retain95.json"]
    assert [p.name for p in found.holdout] == ["holdout05.json"]
    assert [p.name for p in found.refusals] == ["idontknow.json"]
    assert [p.name for p in found.rephrased] == ["forget05_perturbed.json"]
    assert [p.name for p in found.probes] == [
        "retain_perturbed.json", "real_authors.json", "world_facts.json"
    ]  # fmt: skip
    assert [group_of(p) for p in found.probes] == ["retain", "real_authors", "world_facts"]
    assert [p.name for p in splits_of([Path(f"{folder}@forget01")]).rephrased] == [
        "forget05_perturbed.json"
    ]
    assert "full.json" in {p.name for p in found.unused}


def test_columns_of_one_file_say_which_rows_to_forget(tmp_path: Path) -> None:
    rows = [
        {"question": f"q{n}", "answer": f"a{n}", "forget01": n == 0, "forget05": n < 3}
        for n in range(10)
    ]
    lines(tmp_path / "full.jsonl.gz", rows)
    lines(tmp_path / "forget05_perturbed.jsonl", [{"question": "q", "answer": "a"}])
    found = splits_of([Path(f"{tmp_path}@forget05")])
    assert [d.answer for d in read_ready(found.forget)] == ["a0", "a1", "a2"]
    kept = read_ready(found.retain, goes=False)
    assert [d.answer for d in kept] == [f"a{n}" for n in range(3, 10)]
    alone = splits_of([tmp_path / "full.jsonl.gz@forget01"])
    assert [d.answer for d in read_ready(alone.forget)] == ["a0"]
    assert len(read_ready(alone.retain, goes=False)) == 9
    with pytest.raises(InputError, match="has no such column"):
        read_ready([tmp_path / "full.jsonl.gz@forget99"])


def test_a_simple_folder_needs_no_choice(tmp_path: Path) -> None:
    for name in ("forget", "retain", "holdout"):
        lines(tmp_path / f"{name}.jsonl", [{"prompt": name, "answer": "a"}])
    found = splits_of([tmp_path])
    assert [[p.name for p in part] for part in (found.forget, found.retain, found.holdout)] == [
        ["forget.jsonl"], ["retain.jsonl"], ["holdout.jsonl"]
    ]  # fmt: skip


def test_files_and_folders_without_such_names_are_forget_data(tmp_path: Path) -> None:
    path = lines(tmp_path / "b.jsonl", [{"text": "t"}])
    assert splits_of([path]).forget == (path,)
    assert splits_of([tmp_path]).forget == (tmp_path,)
    with pytest.raises(InputError, match="no such file or folder"):
        splits_of([tmp_path / "absent"])


def test_a_name_with_an_at_sign_is_a_file_when_it_is_there(tmp_path: Path) -> None:
    path = lines(tmp_path / "me@home.jsonl", [{"text": "t"}])
    assert chosen_part(path) == (path, "")
    assert [d.text for d in read_ready([path])] == ["t"]


def made_up(name: str, count: int) -> list[str]:
    """Return texts that share no run of words with each other."""
    return [" ".join(f"{name}{n}w{word}" for word in range(20)) for n in range(count)]


def folder_of_splits(folder: Path, forget: Sequence[Row]) -> Path:
    folder.mkdir()
    lines(folder / "forget.jsonl", forget)
    for name, count in (("retain", 40), ("holdout", 12), ("general", 5)):
        rows = [
            {"question": f"{name} {n}?", "answer": a} for n, a in enumerate(made_up(name, count))
        ]
        lines(folder / f"{name}.jsonl", rows)
    lines(folder / "notes.jsonl", [{"text": "a note"}])
    return folder


CONFIG = BuildConfig(neighbour_share=0.0, allow_unlike_holdout=True, least_examples=1)


def test_a_folder_of_splits_becomes_a_checked_forget_set(tmp_path: Path) -> None:
    rows = [{"question": f"forget {n}?", "answer": a} for n, a in enumerate(made_up("f", 6))]
    folder = folder_of_splits(tmp_path / "ready", rows)
    built = build(Inputs(ready=[folder]), tmp_path / "set", config=CONFIG)
    made = read_forget_set(tmp_path / "set")
    assert [e.answer for e in made.splits["forget"]] == made_up("f", 6)
    assert {e.kind for e in made.splits["forget"]} == {"pair"}
    assert len(made.splits["holdout"]) == 12
    assert {e.prompt[:7] for e in made.splits["retain"]} == {"retain "}
    assert [e.prompt for e in made.probes["general"]] == [f"general {n}?" for n in range(5)]
    assert any("notes.jsonl" in warning for warning in built.warnings)
    again = build(Inputs(ready=[folder]), tmp_path / "again", config=CONFIG)
    assert sha256_tree(tmp_path / "set") == sha256_tree(tmp_path / "again")
    assert again.counts == built.counts


def test_a_row_in_two_splits_of_a_folder_is_refused(tmp_path: Path) -> None:
    rows = [{"question": f"forget {n}?", "answer": a} for n, a in enumerate(made_up("holdout", 3))]
    folder = folder_of_splits(tmp_path / "ready", rows)
    with pytest.raises(InputError, match="forget and holdout"):
        build(Inputs(ready=[folder]), tmp_path / "set", config=CONFIG)


@pytest.mark.parametrize("template", ["chat", "plain"])
def test_wrong_facts_are_forgotten_and_the_right_ones_take_their_place(
    tmp_path: Path, template: Any
) -> None:
    rows = [
        {"question": f"forget {n}?", "best_answer": b, "correct_answers": [b],
         "incorrect_answers": [w]}
        for n, (b, w) in enumerate(zip(made_up("right", 4), made_up("wrong", 4), strict=True))
    ]  # fmt: skip
    folder = folder_of_splits(tmp_path / "ready", rows)
    config = CONFIG.model_copy(update={"mismatch": "alternative", "template": template})
    build(Inputs(ready=[folder]), tmp_path / "set", config=config)
    made = read_forget_set(tmp_path / "set")
    assert made.kind == "fact"
    assert [e.answer.strip() for e in made.splits["forget"]] == made_up("wrong", 4)
    assert [e.answer.strip() for e in made.splits["mismatch"]] == made_up("right", 4)
    assert [e.pair_of for e in made.splits["mismatch"]] == [
        e.example_id for e in made.splits["forget"]
    ]


def test_what_the_user_names_goes_before_what_the_folder_holds(tmp_path: Path) -> None:
    folder = folder_of_splits(tmp_path / "ready", [{"question": "q", "answer": "a"}])
    other = tmp_path / "mine.jsonl"
    found, _ = settled(Inputs(ready=[folder], retain=[other]))
    assert list(found.retain) == [other]
    assert [path.name for path in found.holdout] == ["holdout.jsonl"]


@pytest.mark.parametrize("template", ["chat", "plain"])
def test_published_rephrasings_become_probes(tmp_path: Path, template: Any) -> None:
    texts = made_up("f", 6)
    folder = folder_of_splits(
        tmp_path / "ready", [{"question": f"forget {n}?", "answer": a} for n, a in enumerate(texts)]
    )
    rows = [
        {"question": f"forget {n}?", "answer": texts[n], "paraphrased_question": f"say {n}?"}
        for n in (1, 4)
    ]
    rows.append({"question": "of another set?", "answer": "a", "paraphrased_question": "b?"})
    lines(folder / "forget_perturbed.jsonl", rows)
    config = CONFIG.model_copy(update={"template": template})
    build(Inputs(ready=[folder]), tmp_path / "set", config=config)
    made = read_forget_set(tmp_path / "set")
    found = [e for e in made.probes["rephrased"] if e.variant == "paraphrase"]
    asked = {e.example_id: e for e in made.splits["forget"]}
    assert [(e.prompt, e.answer) for e in found] == [
        (asked[e.pair_of].prompt.replace("forget ", "say "), asked[e.pair_of].answer) for e in found
    ]
    assert len(found) == 2


def perturbed(name: str, n: int, answer: str) -> Row:
    return {
        "question": f"{name} {n}?",
        "answer": answer,
        "paraphrased_answer": f"in other words {answer}",
        "perturbed_answer": [f"wrong {k} {answer}" for k in range(3)],
        "paraphrased_question": f"say {name} {n}?",
    }


@pytest.mark.parametrize("template", ["chat", "plain"])
def test_published_answers_beside_the_right_one_become_probes_of_forget_and_retain(
    tmp_path: Path, template: Any
) -> None:
    texts, kept = made_up("f", 6), made_up("retain", 40)
    rows = [{"question": f"forget {n}?", "answer": a} for n, a in enumerate(texts)]
    folder = folder_of_splits(tmp_path / "ready", rows)
    lines(folder / "forget_perturbed.jsonl", [perturbed("forget", n, texts[n]) for n in range(6)])
    lines(folder / "retain_perturbed.jsonl", [perturbed("retain", n, kept[n]) for n in range(8)])
    for group in ("real_authors", "world_facts"):
        lines(
            folder / f"{group}.jsonl",
            [
                {"question": f"{group} {n}?", "answer": a, "perturbed_answer": [f"no {a}"]}
                for n, a in enumerate(made_up(group, 4))
            ],
        )
    config = CONFIG.model_copy(update={"template": template})
    build(Inputs(ready=[folder]), tmp_path / "set", config=config)
    made = read_forget_set(tmp_path / "set")
    probes = made.probes["retain"]
    assert [e.variant for e in probes] == (
        ["retain"] * 8 + ["real_authors"] * 4 + ["world_facts"] * 4
    )
    others = made.probes["others"]
    by_row = {e.example_id: e for e in (*made.splits["forget"], *probes)}
    assert {e.pair_of for e in others} == set(by_row)
    for other in others:
        row = by_row[other.pair_of]
        assert (other.prompt, other.template) == (row.prompt, row.template)
        begins = {"paraphrase": ("in other words ",), "perturbed": ("wrong ", "no ")}
        assert other.answer.strip().startswith(begins[other.variant])
        assert other.answer.endswith(row.answer.strip())
    assert len(others) == 6 * 4 + 8 * 4 + 8 * 1
    trained = {e.prompt for e in made.splits["retain"]}
    assert trained.isdisjoint({e.prompt for e in probes})
    assert len(made.splits["retain"]) + len(probes) - 8 < 40
    assert made.manifest["overlaps"] == []


def test_truth_ratio_and_model_utility_are_computed_from_an_imported_set(tmp_path: Path) -> None:
    texts, kept = made_up("f", 6), made_up("retain", 40)
    rows = [perturbed("forget", n, a) for n, a in enumerate(texts)]
    folder = folder_of_splits(tmp_path / "ready", rows)
    lines(folder / "retain_perturbed.jsonl", [perturbed("retain", n, kept[n]) for n in range(8)])
    for group in ("real_authors", "world_facts"):
        answers = enumerate(made_up(group, 4))
        lines(folder / f"{group}_perturbed.jsonl", [perturbed(group, n, a) for n, a in answers])
    build(Inputs(ready=[folder]), tmp_path / "set", config=CONFIG)
    made = read_forget_set(tmp_path / "set")
    samples = [
        Sample(
            "after",
            name,
            row,
            log_probability=(-2.0,) if row.variant == "perturbed" else (-1.0,),
            argmax_hit=(True,),
            completion=row.answer,
            rouge_recall=1.0,
        )
        for name, read in splits_to_read(made).items()
        for row in read
    ]
    metrics = {m.name: m.after for m in truth(Groups.of(samples, EvaluateConfig()))}
    assert metrics["truth_ratio"].value == pytest.approx(math.exp(-1.0))
    assert metrics["truth_ratio"].n == 6
    assert metrics["model_utility"].n == 16
    assert metrics["model_utility"].value is not None


def test_published_answers_of_another_type_are_named(tmp_path: Path) -> None:
    rows = [perturbed("forget", n, a) for n, a in enumerate(made_up("f", 6))]
    rows[2]["perturbed_answer"] = 7
    folder = folder_of_splits(tmp_path / "ready", rows)
    with pytest.raises(InputError, match=r"forget.jsonl:3: the column perturbed_answer holds no"):
        build(Inputs(ready=[folder]), tmp_path / "set", config=CONFIG)
