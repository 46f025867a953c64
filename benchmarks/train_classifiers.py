"""Train the bundled classifier: `python benchmarks/train_classifiers.py --data DIR`.

Ten minutes on one core, most of it MiniLM. Deterministic: splits by hashed ids, liblinear with a
fixed seed. Writes forgetkit/classify/models/bundled.npz and its card with held-out figures by
source, for the linear student alone and with the embedding head.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from harm_rows import Row, Sources, fraction, is_flagged, read_sample, read_sources

from forgetkit.classify.fit import Labelled, Recipe, train
from forgetkit.classify.head import Embed, add_head
from forgetkit.classify.judge_features import REFUSAL
from forgetkit.classify.protocol import pair_text
from forgetkit.classify.weights import MODELS, save_weights

BITS = 17
CATEGORIES = ("toxicity", "harmful_request", "harmful_answer")
HELD = 0.2  # share of rows held out, by hashed id
ALLOWED_FALSE = 0.05  # false-positive rate out of fold that sets the threshold
READS = {"toxicity": "text", "harmful_request": "prompt", "harmful_answer": "pair"}


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


def labelled(examples: Sequence[Example]) -> list[Labelled]:
    """Return examples as rows to fit; weight 0 is held out."""
    return [
        Labelled(e.text, e.text, e.label, e.source, e.weight or 1.0, e.weight == 0)
        for e in examples
    ]


def main() -> None:
    """Train, measure on the held-out rows, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, help="Cache of embeddings (.npz), read or written.")
    given = parser.parse_args()
    data = read_sources(given.data)
    sets = [toxicity(data), requests(data), answers(data)]
    examples = {name: labelled(rows) for name, rows in zip(CATEGORIES, sets, strict=True)}
    recipe = Recipe(bits=BITS, false_positives=ALLOWED_FALSE)
    card, arrays, fitted = train(examples, recipe)
    embed = cached_embedder(sorted({row.text for rows in sets for row in rows}), given.vectors)
    add_head(card, arrays, examples, fitted, recipe, embed, "minilm")
    arrays["head"] = arrays["head"].astype(np.float16)
    save_weights("bundled", MODELS, {"name": "bundled", "reads": READS, **card, **NOTES}, arrays)


def cached_embedder(texts: list[str], cache: Path | None) -> Embed:
    """Return MiniLM over known texts, their vectors kept in a file from run to run."""
    if cache is not None and cache.is_file():
        vectors = np.load(cache, allow_pickle=False)["vectors"]
    else:
        from forgetkit.embed import open_embedder

        vectors = open_embedder("minilm").encode(texts).astype(np.float16)
        if cache is not None:
            np.savez(cache, vectors=vectors)
    row = {text: number for number, text in enumerate(texts)}

    def embed(wanted: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.asarray(vectors[[row[text] for text in wanted]], np.float32)

    return embed


NOTES = {
    "threshold_rule": "5 % of the harmless training rows score above it, out of fold",
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
