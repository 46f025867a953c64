"""Labelled real data of ../shared/data: reused text, paraphrases, toxicity, harmful requests.

Only rows that the bundled classifier never trained on count; its split is by hashed id, as
`benchmarks/train_classifiers.py` makes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from origins import read_gzip, shared_data
from score import span_scores
from sklearn.metrics import roc_auc_score
from timing import Stopwatch, arguments

from forgetkit.classify import open_classifier
from forgetkit.files import sha256_bytes
from forgetkit.mine import MineConfig, mine
from forgetkit.spans import read_spans

Row = dict[str, Any]
WINDOWS = 100_000
FEWER = {"small": 4, "full": 1}
"""At the small size one document, pair and post in four is read, chosen by a hash of its id."""
MARKED: dict[str, dict[str, Any]] = {
    "windows of sentences": {},
    "words (`harm_spans`)": {"harm_spans": "words"},
    "words, threshold .3": {"harm_spans": "words", "harm_threshold": 0.3},
}
"""How `mine` marks the toxic characters of a post."""
Chosen = Callable[[Row], bool]


def chosen_by(share: int) -> Chosen:
    """Return whether a row belongs to one in so many."""

    def is_chosen(row: Row) -> bool:
        return int(sha256_bytes(str(row["id"]).encode())[:8], 16) % share == 0

    return is_chosen


def reused(shared: Path, scratch: Path, watch: Stopwatch, chosen: Chosen) -> dict[str, Any]:
    """Score `mine` on documents with labelled copies, by kind, with one detector and with two.

    The works are those that the chosen documents copy, whole.
    """
    documents = [r for r in read_gzip(shared / "copyright/text_reuse_docs.jsonl.gz") if chosen(r)]
    copied = {span["work"] for row in documents for span in row["spans"]}
    paragraphs = [r for r in read_gzip(shared / "copyright/works.jsonl.gz") if r["work"] in copied]
    works = {"work": [r["work"] for r in paragraphs], "text": [r["text"] for r in paragraphs]}
    pq.write_table(pa.table(works), scratch / "works.parquet")
    rows = {"id": [r["id"] for r in documents], "text": [r["text"] for r in documents]}
    pq.write_table(pa.table(rows), scratch / "documents.parquet")
    truth = [span | {"doc_id": row["id"]} for row in documents for span in row["spans"]]
    for copy in truth:
        del copy["work"]
    negatives = {str(row["id"]) for row in documents if not row["label"]}
    scores: dict[str, Any] = {}
    for names in ("verbatim", "verbatim,semantic"):
        out = scratch / names.replace(",", "-")
        config = MineConfig(detectors=names, max_windows=WINDOWS)
        watch.time(
            f"mine {names}",
            lambda out=out, config=config: mine(
                [scratch / "documents.parquet"],
                out,
                works=[scratch / "works.parquet"],
                config=config,
            ),
        )
        spans = [(s.doc_id, s.start, s.end) for s in read_spans(out / "spans.parquet")]
        scores[names] = span_scores(truth, spans)
        scores[names]["negatives"] = {
            "n": len(negatives),
            "hit": len(negatives & {span[0] for span in spans}),
        }
    return scores


def paraphrases(shared: Path, watch: Stopwatch, chosen: Chosen) -> dict[str, Any]:
    """Return the area under ROC of MiniLM's cosine on human paraphrases and neighbours."""
    from forgetkit.embed import open_embedder

    rows = [r for r in read_gzip(shared / "copyright/paraphrase_pairs.jsonl.gz") if chosen(r)]
    embedder = open_embedder("minilm")
    sides = [
        watch.time("embed", lambda side=side: embedder.encode([row[side] for row in rows]))
        for side in ("text_a", "text_b")
    ]
    cosine = (sides[0] * sides[1]).sum(axis=1)
    labels = np.array([bool(row["label"]) for row in rows])
    at = MineConfig().semantic_threshold
    return {
        "n": len(rows),
        "area": area(labels, cosine),
        "threshold": at,
        "recall": float((cosine[labels] >= at).mean()),
        "false": float((cosine[~labels] >= at).mean()),
    }


def area(labels: Sequence[Any], scores: Sequence[Any]) -> float:
    """Return the area under ROC, in [0, 1]."""
    return float(roc_auc_score(labels, scores))


def column(classifier: Any, texts: Sequence[str], name: str) -> Any:
    """Return the scores of one category."""
    return classifier.score(list(texts))[:, classifier.categories.index(name)]


def toxicity(shared: Path) -> dict[str, Any]:
    """Return the area under ROC by source, on held-out comments."""
    from train_classifiers import weight_of

    classifier = open_classifier("bundled")
    rows = read_gzip(shared / "toxicity/comments.jsonl.gz")
    held = [row for row in rows if weight_of(row["id"]) == 0.0]
    found = {}
    for source in sorted({row["source"] for row in held}):
        own = [row for row in held if row["source"] == source]
        scores = column(classifier, [row["text"] for row in own], "toxicity")
        found[source] = {"n": len(own), "area": area([bool(row["label"]) for row in own], scores)}
    return found


def toxic_spans(shared: Path, scratch: Path, chosen: Chosen) -> dict[str, Any]:
    """Return the character F1 of `mine --detector harm` on held-out posts, averaged over posts.

    Da San Martino et al. 2019, as in SemEval 2021 task 5: a post without toxic characters scores 1
    when nothing is marked and 0 otherwise.
    """
    from train_classifiers import weight_of

    rows = read_gzip(shared / "toxicity/toxic_spans.jsonl.gz")
    held = [r for r in rows if weight_of(r["id"]) == 0.0 and r["text"].strip() and chosen(r)]
    path = scratch / "posts.parquet"
    columns = {"id": [str(row["id"]) for row in held], "text": [row["text"] for row in held]}
    pq.write_table(pa.table(columns), path)
    truth = {
        str(row["id"]): {at for start, end in row["spans"] for at in range(start, end)}
        for row in held
    }
    found: dict[str, float] = {}
    for label, named in MARKED.items():
        config = MineConfig(detectors=("harm",), harm_categories=("toxicity",), **named)
        out = scratch / f"harm-{len(found)}"
        mine([path], out, config=config)
        marked: dict[str, set[int]] = {}
        for span in read_spans(out / "spans.parquet"):
            marked.setdefault(span.doc_id, set()).update(range(span.start, span.end))
        found[label] = mean_f1(truth, marked)
    found["every post marked whole"] = mean_f1(
        truth, {str(row["id"]): set(range(len(row["text"]))) for row in held}
    )
    return {"n": len(held), "f1": found}


def mean_f1(truth: dict[str, set[int]], marked: dict[str, set[int]]) -> float:
    """Return the mean over posts of the F1 of the characters marked."""
    return float(np.mean([f1(real, marked.get(post, set())) for post, real in truth.items()]))


def f1(real: set[int], said: set[int]) -> float:
    """Return the F1 of two sets of characters; 1 when both are empty.

    >>> f1({1, 2}, {2, 3})
    0.5
    """
    both = len(real & said)
    return 2 * both / (len(real) + len(said)) if real or said else 1.0


def requests(shared: Path) -> dict[str, Any]:
    """Return the area under ROC of harmful requests on the held-out XSTest prompts."""
    from harm_rows import read_sources

    sources = read_sources(shared)
    held = [row for row in sources.xstest_prompts if row["prompt"] not in sources.xstest_train]
    scores = column(open_classifier("bundled"), [row["prompt"] for row in held], "harmful_request")
    labels = [row["label"] == "unsafe" for row in held]
    return {"n": len(held), "unsafe": sum(labels), "area": area(labels, scores)}


def main() -> None:
    _, scratch, out = arguments()
    watch = Stopwatch()
    shared = shared_data()
    if shared is None:
        watch.say(out, absent="../shared/data is not there")
        return
    share = FEWER[sys.argv[4]]
    chosen = chosen_by(share)
    part = "All of it." if share == 1 else f"One document, pair and post in {share} of it."
    watch.say(
        out,
        note=part,
        reuse=reused(shared, scratch, watch, chosen),
        paraphrases=paraphrases(shared, watch, chosen),
        toxicity=toxicity(shared),
        toxic_spans=toxic_spans(shared, scratch, chosen),
        requests=requests(shared),
    )


if __name__ == "__main__":
    main()
