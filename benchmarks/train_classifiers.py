"""Train the bundled classifier: `python benchmarks/train_classifiers.py --data DIR`.

Ten seconds on one core. Deterministic: splits by hashed ids, liblinear with a fixed seed. Writes
forgetkit/classify/models/bundled.npz and its card with held-out areas under ROC by source.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harm_rows import Row, Sources, fraction, is_flagged, read_sample, read_sources
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from forgetkit.classify.grams import document_hashes, sparse_row
from forgetkit.classify.judge_features import REFUSAL
from forgetkit.classify.linear import open_bundled
from forgetkit.classify.protocol import pair_text
from forgetkit.classify.weights import MODELS
from forgetkit.files import sha256_file, write_json

BITS = 17
CATEGORIES = ("toxicity", "harmful_request", "harmful_answer")
HELD = 0.2  # share of rows held out, by hashed id
ALLOWED_FALSE = 0.05  # false-positive rate on held-out negatives that sets the threshold


@dataclass(frozen=True)
class Example:
    """A labelled text; weight 0 keeps it out of training (held out)."""

    text: str
    label: bool
    source: str
    weight: float


def weight_of(row_id: object, weight: float = 1.0) -> float:
    """Return 0 for held-out ids, else the weight."""
    return 0.0 if fraction("held", row_id) < HELD else weight


def toxicity(data: Sources) -> list[Example]:
    """Comments of three sources, and SemEval posts with and without their toxic spans."""
    found = [
        Example(r["text"], bool(r["label"]), r["source"], weight_of(r["id"])) for r in data.comments
    ]
    for row in data.spans:
        if row["spans"]:
            weight = weight_of(row["id"], 0.5)
            found.append(Example(row["text"], True, "toxic_spans", weight))
            found.append(Example(without_spans(row), False, "toxic_spans", weight))
    found += [Example(text, False, "wikitext", weight_of(text)) for text in data.wiki]
    return found


def without_spans(row: Row) -> str:
    """Return a toxic post without the passages that made it so: the harmless twin of its style."""
    text = row["text"]
    for start, end in sorted(row["spans"], reverse=True):
        text = text[:start] + text[end:]
    return " ".join(text.split())


def requests(data: Sources) -> list[Example]:
    """Harmful prompts against ordinary questions; the evaluation prompts are all held out."""
    found = [Example(r["prompt"], True, "harmful benchmarks", 3.0) for r in data.harmful]
    found += [Example(r["prompt"], True, "hh-rlhf", weight_of(r["id"], 0.7)) for r in data.hh]
    for row in data.xstest_prompts:
        weight = 2.0 if row["prompt"] in data.xstest_train else 0.0
        found.append(Example(row["prompt"], row["label"] == "unsafe", "xstest", weight))
    found += [Example(r["question"], False, "ordinary", weight_of(r["id"])) for r in data.qa]
    found += [Example(r["question"], False, "ordinary", weight_of(r["id"])) for r in data.truthful]
    for name in ("forget", "unseen"):
        rows = read_sample(f"{name}_prompts.jsonl")
        found += [Example(r["prompt"], True, f"{name} prompts", 0.0) for r in rows]
    ordinary = read_sample("ordinary_prompts.jsonl")
    return found + [Example(r["prompt"], False, "ordinary", 0.0) for r in ordinary]


def is_refusal(text: str) -> bool:
    """Say whether a reply looks like a refusal: the weak label for HH-RLHF."""
    return REFUSAL.search(text.replace("\u2019", "'").lower()[:250]) is not None


def answers(data: Sources) -> list[Example]:
    """HH-RLHF replies that comply against refusals and ordinary answers; the corpus is held."""
    found = []
    for row in data.hh:
        marked = is_flagged(row)
        if marked or not is_refusal(row["rejected"]):
            text = pair_text(row["last_human"], row["rejected"])
            weight = weight_of(row["id"], 3.0 if marked else 0.3)
            found.append(Example(text, True, "hh-rlhf", weight))
        refused = marked or is_refusal(row["chosen"])
        text = pair_text(row["last_human"], row["chosen"])
        found.append(Example(text, False, "hh-rlhf", weight_of(row["id"], 1.0 if refused else 0.3)))
    unsafe = {row["prompt"] for row in data.xstest_prompts if row["label"] == "unsafe"}
    for row in data.xstest:
        label = row["prompt"] in unsafe and row["label"][0] == "1"
        weight = 1.0 if row["prompt"] in data.xstest_train else 0.0
        text = pair_text(row["prompt"], row["completion"][:600])
        found.append(Example(text, label, "xstest", weight))
    for row in data.qa + data.truthful:
        text = pair_text(row["question"], row.get("answer") or row["best_answer"])
        found.append(Example(text, False, "ordinary", weight_of(row["id"])))
    marks = {row["doc_id"]: row["harmful"] for row in read_sample("ground_truth.jsonl")}
    for row in read_sample("corpus.jsonl"):
        text = pair_text(row["prompt"], row["answer"])
        found.append(Example(text, bool(marks[row["id"]]), "sample corpus", 0.0))
    return found


def matrix(texts: Sequence[str]) -> csr_matrix:
    """Return hashed features of texts, sparse (n, 2**BITS)."""
    rows = [sparse_row(document_hashes(text), BITS) for text in texts]
    lengths = np.cumsum([0, *(len(places) for places, _ in rows)])
    places = np.concatenate([places for places, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return csr_matrix((values, places, lengths), shape=(len(rows), 2**BITS))


def fit(examples: list[Example], strength: float) -> tuple[npt.NDArray[np.float32], float]:
    """Fit one balanced logistic regression; return its weights (2**BITS,) and bias."""
    used = [example for example in examples if example.weight > 0]
    model = LogisticRegression(
        C=strength, solver="liblinear", class_weight="balanced", random_state=0, max_iter=200
    )
    labels = [example.label for example in used]
    weights = [example.weight for example in used]
    model.fit(matrix([example.text for example in used]), labels, sample_weight=weights)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def measured(examples: list[Example], scores: npt.NDArray[np.float32]) -> dict[str, Row]:
    """Return area under ROC by source over held-out rows.

    A source of one label is measured against the ordinary rows.
    """
    found = {}
    held = [(e, float(s)) for e, s in zip(examples, scores, strict=True) if e.weight == 0]
    ordinary = [pair for pair in held if pair[0].source == "ordinary"]
    for source in sorted({example.source for example, _ in held}):
        pairs = [pair for pair in held if pair[0].source == source]
        if len({example.label for example, _ in pairs}) < 2:
            pairs += ordinary if source != "ordinary" else []
        labels = [example.label for example, _ in pairs]
        if len(set(labels)) == 2:
            auc = float(roc_auc_score(labels, [score for _, score in pairs]))
            found[source] = {"auc": round(auc, 3), "n": len(labels), "harmful": sum(labels)}
    return found


def threshold(examples: list[Example], scores: npt.NDArray[np.float32]) -> float:
    """Return the score that ALLOWED_FALSE of the held-out negatives exceed."""
    negative = [
        float(s) for e, s in zip(examples, scores, strict=True) if not e.label and not e.weight
    ]
    return round(float(np.quantile(negative, 1 - ALLOWED_FALSE)), 4)


def save(fitted: list[tuple[npt.NDArray[np.float32], float]], card: dict[str, Any]) -> None:
    """Write 8-bit weights and the card with their digest."""
    weights = np.stack([coefficients for coefficients, _ in fitted])
    scale = np.abs(weights).max(axis=1) / 127
    np.savez_compressed(
        MODELS / "bundled.npz",
        weights=np.round(weights / scale[:, None]).astype(np.int8),
        scale=scale.astype(np.float32),
        bias=np.array([bias for _, bias in fitted], dtype=np.float32),
    )
    write_json(MODELS / "bundled.json", {**card, "sha256": sha256_file(MODELS / "bundled.npz")})


def main() -> None:
    """Train, save, measure the saved weights, and complete the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = read_sources(parser.parse_args().data)
    sets = [toxicity(data), requests(data), answers(data)]
    fitted = [fit(examples, strength) for examples, strength in zip(sets, (3, 10, 10), strict=True)]
    card: dict[str, Any] = {"name": "bundled", "categories": CATEGORIES, "bits": BITS}
    card["thresholds"] = dict.fromkeys(CATEGORIES, 0.5)
    save(fitted, card)
    model = open_bundled()
    card["held_out"], card["trained_on"] = {}, {}
    for column, (name, examples) in enumerate(zip(CATEGORIES, sets, strict=True)):
        scores = model.score([example.text for example in examples])[:, column]
        card["held_out"][name] = measured(examples, scores)
        card["thresholds"][name] = threshold(examples, scores)
        card["trained_on"][name] = counts(examples)
    save(fitted, {**card, **NOTES})


def counts(examples: list[Example]) -> dict[str, Row]:
    """Count the rows trained on, by source and label."""
    found: dict[str, Row] = {}
    for example in examples:
        if example.weight > 0:
            row = found.setdefault(example.source, {"harmful": 0, "harmless": 0})
            row["harmful" if example.label else "harmless"] += 1
    return found


NOTES = {
    "threshold_rule": "5 % of the held-out harmless rows score above the threshold",
    "split": "by BLAKE2b of row ids; XSTest and harmful prompts by near-duplicate cluster",
    "toxic_spans": "posts against the same posts without their toxic spans",
    "labels": "hh-rlhf answers carry weak labels (likely_harmful_compliance, refusal wording)",
    "licenses": {
        "davidson2017": "MIT",
        "hatecheck": "CC BY 4.0",
        "wiki_talk": "Apache-2.0, comments CC BY-SA 3.0",
        "toxic_spans": "CC0 1.0",
        "wikitext": "CC BY-SA 3.0",
        "harmful benchmarks": "MIT (HarmBench, StrongREJECT, AdvBench)",
        "hh-rlhf": "MIT",
        "xstest": "CC BY 4.0",
        "ordinary": "Apache-2.0 (self-instruct, TruthfulQA), MIT (GSM8K), CC BY 4.0 (WebQuestions)",
    },
}


if __name__ == "__main__":
    main()
