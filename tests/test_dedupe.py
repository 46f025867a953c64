from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from stand_ins import one_hot

from forgetkit.dedupe import DedupeConfig, dedupe, dedupe_spans
from forgetkit.errors import InputError, UsageError
from forgetkit.files import sha256_tree
from forgetkit.spans import Span, read_spans, write_spans

LONG = " ".join(f"word{n}" for n in range(200))
NEARLY = LONG.replace("word100 ", "other ")


def corpus(tmp_path: Path, name: str, *texts: str) -> Path:
    path = tmp_path / name
    rows = [{"id": f"{name}-{n}", "text": text, "n": n} for n, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def kept(out: Path) -> list[str]:
    files = sorted((out / "kept").rglob("*.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").split("\n")]
    return [json.loads(line)["id"] for line in lines if line]


def span(name: str, start: int, end: int, *, work: str | None = "w", text: str = "") -> Span:
    return Span(
        doc_id=name,
        source=f"a:{name}",
        field="text",
        start=0,
        end=end - start,
        detector="verbatim",
        category="copy",
        score=1.0,
        text=text or f"{name} text",
        work_id=work,
        work_start=start if work else None,
        work_end=end if work else None,
    )


def clustered(tmp_path: Path, spans: list[Span], **named: Any) -> list[list[str]]:
    write_spans(tmp_path / "spans.parquet", spans)
    out = tmp_path / "out"
    result = dedupe_spans(tmp_path / "spans.parquet", out, config=DedupeConfig(**named))
    after = read_spans(out / "spans.parquet")
    assert {s.span_id for s in after} == {s.span_id for s in spans}
    groups: dict[str, list[str]] = {}
    for one in after:
        groups.setdefault(one.cluster_id or "", []).append(one.doc_id)
    rows = table(out / "clusters.parquet")
    assert {row["cluster_id"] for row in rows} == set(groups)
    assert result.counts == {"read": len(spans), "kept": len(spans), "clusters": len(groups)}
    return sorted(sorted(group) for group in groups.values())


def test_exact_and_near_duplicates_go_and_say_what_they_matched(tmp_path: Path) -> None:
    path = corpus(tmp_path, "a.jsonl", LONG, "Something else.", LONG.upper() + "!", NEARLY)
    result = dedupe([path], tmp_path / "out")
    assert result.counts == {
        "read": 4,
        "kept": 2,
        "duplicate": 2,
        "quarantined": 0,
        "clusters": 1,
    }
    assert kept(tmp_path / "out") == ["a.jsonl-0", "a.jsonl-1"]
    exact, near = table(tmp_path / "out" / "duplicates.parquet")
    assert (exact["doc_id"], exact["matched_doc_id"], exact["method"]) == (
        "a.jsonl-2",
        "a.jsonl-0",
        "exact",
    )
    assert (near["method"], near["jaccard"]) == ("near", pytest.approx(191 / 201))
    (cluster,) = table(tmp_path / "out" / "clusters.parquet")
    assert cluster["members"] == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:4"]
    assert exact["cluster_id"] == near["cluster_id"] == cluster["cluster_id"]


def test_the_longest_stays_when_asked(tmp_path: Path) -> None:
    path = corpus(tmp_path, "a.jsonl", LONG, LONG + " !!")
    dedupe([path], tmp_path / "out", config=DedupeConfig(keep="longest"))
    assert kept(tmp_path / "out") == ["a.jsonl-1"]


def test_what_stays_keeps_all_its_columns(tmp_path: Path) -> None:
    path = corpus(tmp_path, "a.jsonl", "one\u2028two")
    dedupe([path], tmp_path / "out")
    assert (tmp_path / "out" / "kept" / "a.jsonl").read_bytes() == path.read_bytes()


def test_a_threshold_and_exact_only_are_obeyed(tmp_path: Path) -> None:
    path = corpus(tmp_path, "a.jsonl", LONG, NEARLY)
    for number, config in enumerate([DedupeConfig(threshold=0.99), DedupeConfig(near=False)]):
        assert dedupe([path], tmp_path / str(number), config=config).counts["kept"] == 2


def test_bad_rows_are_in_the_books_and_a_lost_source_is_a_warning(tmp_path: Path) -> None:
    first = corpus(tmp_path, "a.jsonl", LONG, "Other.")
    second = corpus(tmp_path, "b.jsonl", LONG, NEARLY, LONG)
    with second.open("a", encoding="utf-8") as stream:
        stream.write("broken\n")
    result = dedupe([second, first], tmp_path / "out")
    books = {"read": 4, "kept": 0, "filtered": 0, "duplicate": 3, "quarantined": 1}
    assert result.accounting["b.jsonl"] == books
    assert result.warnings[0] == "b.jsonl: 3 of 4 documents are duplicates"


def test_the_order_of_arguments_changes_nothing(tmp_path: Path) -> None:
    paths = [corpus(tmp_path, "a.jsonl", LONG, "x"), corpus(tmp_path, "b.jsonl", NEARLY, "x")]
    dedupe(paths, tmp_path / "1")
    dedupe(paths[::-1], tmp_path / "2")
    assert sha256_tree(tmp_path / "1") == sha256_tree(tmp_path / "2")


def test_a_taken_folder_and_a_wrong_file_are_refused(tmp_path: Path) -> None:
    path = corpus(tmp_path, "a.jsonl", "x")
    with pytest.raises(UsageError, match="holds something else"):
        dedupe([path], tmp_path)
    with pytest.raises(InputError, match="is not a spans file"):
        dedupe_spans(path, tmp_path / "out")


def test_spans_of_one_passage_share_a_cluster(tmp_path: Path) -> None:
    spans = [span("1", 0, 500), span("2", 20, 480), span("3", 100, 300), span("4", 500, 900)]
    assert clustered(tmp_path, spans) == [["1", "2", "3"], ["4"]]
    row = next(r for r in table(tmp_path / "out" / "clusters.parquet") if r["size"] == 3)
    assert (row["work_id"], row["work_start"], row["work_end"]) == ("w", 0, 500)
    assert row["representative"] == spans[0].span_id


def test_a_chain_of_quotations_does_not_swallow_the_work(tmp_path: Path) -> None:
    spans = [span(f"{n:02d}", n * 40, n * 40 + 100) for n in range(30)]
    groups = clustered(tmp_path, spans)
    assert len(groups) > 5
    rows = table(tmp_path / "out" / "clusters.parquet")
    assert max(row["work_end"] - row["work_start"] for row in rows) <= 200


def test_spans_without_a_work_are_grouped_by_their_text(tmp_path: Path) -> None:
    spans = [
        span("1", 0, 10, work=None, text=LONG),
        span("2", 0, 10, work=None, text=NEARLY),
        span("3", 0, 10, work=None, text="Short!"),
        span("4", 0, 10, work=None, text="short"),
        span("5", 0, 10, work=None, text="other"),
    ]
    assert clustered(tmp_path, spans) == [["1", "2"], ["3", "4"], ["5"]]


def test_clusters_of_one_meaning_are_named_and_stay_apart(tmp_path: Path) -> None:
    texts = ["Short!", "short", "one two", "three four", "other"]
    spans = [span(str(n), 0, 10, work=None, text=text) for n, text in enumerate(texts)]
    write_spans(tmp_path / "spans.parquet", spans)
    config = DedupeConfig(semantic="label")
    done = dedupe_spans(
        tmp_path / "spans.parquet",
        tmp_path / "out",
        config=config,
        embedder=one_hot("lengths", lambda text: len(text.split())),
    )
    assert (done.counts["clusters"], done.counts["semantic"]) == (4, 2)
    rows = table(tmp_path / "out" / "semantic.parquet")
    names = {s.span_id: s.doc_id for s in spans}
    assert [
        (names[r["representative"]], names[r["matched_representative"]], r["cosine"]) for r in rows
    ] == [("3", "2", 1.0), ("4", "0", 1.0)]
    assert len({row["cluster_id"] for row in table(tmp_path / "out" / "clusters.parquet")}) == 4


@pytest.mark.parametrize("named", [{"prefer": ("a*",)}, {"annotate": True}, {"compare": "raw"}])
def test_settings_without_effect_on_spans_are_refused(
    tmp_path: Path, named: dict[str, Any]
) -> None:
    write_spans(tmp_path / "spans.parquet", [])
    with pytest.raises(UsageError, match=f"{next(iter(named))}: is for corpora"):
        dedupe_spans(tmp_path / "spans.parquet", tmp_path / "out", config=DedupeConfig(**named))


def test_two_works_never_share_a_cluster(tmp_path: Path) -> None:
    spans = [span("1", 0, 500, work="a"), span("2", 0, 500, work="b")]
    assert clustered(tmp_path, spans) == [["1"], ["2"]]


def test_no_spans_give_no_clusters(tmp_path: Path) -> None:
    assert clustered(tmp_path, []) == []
