"""Rows that the bundled classifier and judge are trained and tested on.

Only rows that ``sample_data/harm/training_split.json`` allows are ever trained on: no prompt
cluster of the evaluation prompts, no document of the sample corpus, no ordinary prompt.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

SAMPLES = Path(__file__).resolve().parent.parent / "sample_data" / "harm"


def read_gzip(path: Path) -> list[Row]:
    """Read a gzip JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_sample(name: str) -> list[Row]:
    """Read a shipped JSON-lines file of sample_data/harm."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def fraction(purpose: str, key: object) -> float:
    """Return a fixed pseudo-random number in [0, 1) for a row."""
    digest = hashlib.blake2b(f"{purpose}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True)
class Sources:
    """The source rows, already without what must not be trained on (except `xstest`)."""

    harmful: list[Row]
    hh: list[Row]
    xstest_prompts: list[Row]
    xstest: list[Row]
    xstest_train: frozenset[str]
    qa: list[Row]
    comments: list[Row]
    spans: list[Row]
    truthful: list[Row]
    wiki: list[str]
    books: list[str]


def read_sources(data: Path) -> Sources:
    """Read every source under ``data`` and drop the rows the split does not allow."""
    split = json.loads((SAMPLES / "training_split.json").read_text(encoding="utf-8"))
    allowed_hh, allowed_harm = set(split["hh_ids"]), set(split["harmful_prompt_ids"])
    shipped = {row["id"] for row in read_sample("ordinary_prompts.jsonl")}
    shipped |= {row["id"] for row in read_sample("corpus.jsonl")}
    harmful = read_gzip(data / "harm/harmful_prompts.jsonl.gz")
    hh = read_gzip(data / "harm/hh_harmless_pairs.jsonl.gz")
    qa = read_gzip(data / "retain/normal_qa.jsonl.gz")
    books = read_gzip(data / "copyright/works.jsonl.gz")
    return Sources(
        harmful=[row for row in harmful if row["id"] in allowed_harm],
        hh=[row for row in hh if row["id"] in allowed_hh],
        xstest_prompts=read_gzip(data / "harm/xstest_prompts.jsonl.gz"),
        xstest=read_gzip(data / "harm/xstest_completions.jsonl.gz"),
        xstest_train=frozenset(split["xstest_train_prompts"]),
        qa=[row for row in qa if row["id"] not in shipped],
        comments=read_gzip(data / "toxicity/comments.jsonl.gz"),
        spans=read_gzip(data / "toxicity/toxic_spans.jsonl.gz"),
        truthful=read_gzip(data / "hallucination/truthfulqa.jsonl.gz"),
        wiki=[r["text"] for r in read_gzip(data / "retain/wikitext2_paragraphs.jsonl.gz")],
        books=[row["text"] for row in books],
    )


def is_flagged(row: Row) -> bool:
    """Say whether HH-RLHF's rejected reply is marked as likely harmful compliance."""
    return str(row["likely_harmful_compliance"]) == "True"


def chunks(texts: list[str], size: int) -> Iterator[str]:
    """Yield pieces of about ``size`` words of each text."""
    for text in texts:
        parts = text.split()
        for start in range(0, len(parts), size):
            yield " ".join(parts[start : start + size])
