"""Near duplicates: documents, copies of some in 12 kinds, and every pair that is really alike.

Kinds: exact; whitespace; case_punctuation; words_1, words_2, words_4 (so many per cent of the
words replaced); sentences_dropped (8 %); paragraph_added; paragraph_moved; boilerplate (the same
header and footer on many); truncated (to 70 to 98 %); short (30 to 80 words, one changed).
The truth does not come from the kinds: it is the exact Jaccard similarity of all pairs.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from edits import replaced
from markov import Markov
from origins import Origins
from planted import write_table

from forgetkit.seeds import generator

WORDS = 5  # a shingle
LEAST_JACCARD = 0.5  # of the pairs that are written down
MEAN_WORDS = 840  # 4.15 kB a document
_TOKEN = re.compile(r"[^\W_]+")
_HEADER = (
    "Skip to the contents. You are reading the free library of public works, kept by its readers "
    "since nineteen hundred and ninety-four. Home, catalogue, authors, titles, about us, donate."
)
_FOOTER = (
    "This text is free of known restrictions under copyright law. It may be copied, given away or "
    "used again under the terms of the licence that comes with this library. All marks belong to "
    "their owners. Report an error, print this page, share this page, go back to the top."
)


def _exact(text: str, words: Sequence[str], rng: random.Random) -> str:
    del words, rng
    return text


def _whitespace(text: str, words: Sequence[str], rng: random.Random) -> str:
    del words
    return re.sub(r"\s+", lambda _: rng.choice((" ", " ", "  ", "\n", "\n\n", "\t")), text)


def _case_punctuation(text: str, words: Sequence[str], rng: random.Random) -> str:
    del words
    kept = "".join(c for c in text if c.isalnum() or c in " \n'’-" or rng.random() < 0.5)
    return kept.upper() if rng.random() < 0.5 else kept.lower()


def _sentences_dropped(text: str, words: Sequence[str], rng: random.Random) -> str:
    del words
    return " ".join(s for s in re.split(r"(?<=[.!?])\s+", text) if rng.random() > 0.08)


def _paragraph_added(text: str, words: Sequence[str], rng: random.Random) -> str:
    count = round(len(text.split()) * rng.uniform(0.03, 0.3))
    return f"{text}\n\n{' '.join(rng.choice(words) for _ in range(count))}."


def _paragraph_moved(text: str, words: Sequence[str], rng: random.Random) -> str:
    del words
    paragraphs = text.split("\n\n")
    place = rng.randrange(len(paragraphs))
    paragraphs.insert(place, paragraphs.pop(rng.randrange(len(paragraphs))))
    return "\n\n".join(paragraphs)


def _boilerplate(text: str, words: Sequence[str], rng: random.Random) -> str:
    del words, rng
    return f"{_HEADER}\n\n{text}\n\n{_FOOTER}"


def _truncated(text: str, words: Sequence[str], rng: random.Random) -> str:
    del words
    return text[: round(len(text) * rng.uniform(0.7, 0.98))].rsplit(None, 1)[0]


KINDS: dict[str, Callable[[str, Sequence[str], random.Random], str]] = {
    "exact": _exact,
    "whitespace": _whitespace,
    "case_punctuation": _case_punctuation,
    "words_1": replaced(0.01),
    "words_2": replaced(0.02),
    "words_4": replaced(0.04),
    "sentences_dropped": _sentences_dropped,
    "paragraph_added": _paragraph_added,
    "paragraph_moved": _paragraph_moved,
    "boilerplate": _boilerplate,
    "truncated": _truncated,
    "short": replaced(0.001),
}


def make_twins(out: Path, origins: Origins, documents: int, seed: int) -> None:
    """Write `documents.parquet`, `made.jsonl` (what was made of what) and `truth.parquet`.

    Half of the documents belong to a group: an original and one, two or five copies of one kind.
    """
    random_, rng = generator(seed, "bench twins"), random.Random(f"{seed} bench twins")
    sources = [*origins.works.values(), *origins.hosts]
    common = [word for word in sources[0].split() if word.isalpha() and len(word) > 2]
    groups = _groups(documents, rng)
    singles = documents - sum(1 + count for _, count in groups)
    lengths = _lengths(len(groups) + singles, random_)
    for number, (kind, _) in enumerate(groups):
        if kind == "short":
            lengths[number] = rng.randint(30, 80)
    originals = list(Markov(sources).texts(lengths.tolist(), random_))
    texts: list[str] = []
    made: list[dict[str, object]] = []
    for number, text in enumerate(originals):
        kind, copies = groups[number] if number < len(groups) else ("single", 0)
        made += [{"group": number, "kind": kind, "copy": copy} for copy in range(copies + 1)]
        texts += [text, *(KINDS[kind](text, common, rng) for _ in range(copies))]
    order = random_.permutation(len(texts))
    texts = [texts[at] for at in order]
    ids = [f"n{row:06d}" for row in range(len(texts))]
    write_table(out / "documents.parquet", {"id": ids, "text": texts})
    rows = [{"id": ids[row]} | made[at] for row, at in enumerate(order)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (out / "made.jsonl").write_text(lines, encoding="utf-8")
    first, second, jaccard = all_pairs(texts, LEAST_JACCARD)
    _write_truth(out / "truth.parquet", ids, first, second, jaccard)


def _groups(documents: int, rng: random.Random) -> list[tuple[str, int]]:
    groups: list[tuple[str, int]] = []
    taken = 0
    kinds = list(KINDS)
    while taken < documents // 2:
        kind = kinds[len(groups) % len(kinds)]
        copies = rng.choices((1, 2, 5), (8, 1, 1))[0]
        groups.append((kind, copies))
        taken += copies + 1
    return groups


def _lengths(count: int, random_: np.random.Generator) -> npt.NDArray[np.int64]:
    spread = 0.8
    lengths = random_.lognormal(np.log(MEAN_WORDS) - spread**2 / 2, spread, count)
    return np.clip(lengths, 60, 12 * MEAN_WORDS).astype(np.int64)


def tokens(text: str) -> list[str]:
    """Return the words of a text in small letters, the only thing a pair's likeness depends on."""
    return _TOKEN.findall(text.casefold())


def all_pairs(
    texts: Sequence[str], least: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return every pair of at least this Jaccard similarity of word 5-grams, by an exact join.

    The product of the document-shingle matrix with its transpose counts what two documents share;
    no candidate is ever left out.
    """
    from scipy.sparse import csr_matrix

    rows, columns, sizes = _incidence(texts)
    matrix = csr_matrix(
        (np.ones(len(rows), np.int32), (rows, columns)), shape=(len(texts), columns.max() + 1)
    )
    found: list[tuple[npt.NDArray[np.int64], ...]] = []
    for begin in range(0, len(texts), 2000):
        shared = (matrix[begin : begin + 2000] @ matrix.T).tocoo()
        one, two = shared.row.astype(np.int64) + begin, shared.col.astype(np.int64)
        jaccard = shared.data / (sizes[one] + sizes[two] - shared.data)
        keep = (one < two) & (jaccard >= least)
        found.append((one[keep], two[keep], jaccard[keep]))
    one, two, jaccard = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return one, two, jaccard


def _incidence(
    texts: Sequence[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (document, shingle number) of the shingles in two documents or more, and set sizes."""
    hashes: list[npt.NDArray[np.uint64]] = []
    for text in texts:
        words = tokens(text)
        codes = np.fromiter((hash_word(word) for word in words), np.uint64, len(words))
        mixed = np.zeros(max(1, len(codes) - WORDS + 1), np.uint64)
        for offset in range(min(WORDS, len(codes))):
            piece = codes[offset : offset + len(mixed)]
            mixed = (mixed ^ piece) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        hashes.append(np.unique(mixed))
    sizes = np.array([len(found) for found in hashes], np.int64)
    rows = np.repeat(np.arange(len(texts)), sizes)
    _, columns, counts = np.unique(np.concatenate(hashes), return_inverse=True, return_counts=True)
    shared = counts[columns] > 1
    return rows[shared], columns[shared], sizes


_KNOWN: dict[str, int] = {}


def hash_word(word: str) -> int:
    """Return a fixed 64-bit number for a word."""
    import hashlib

    if word not in _KNOWN:
        _KNOWN[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
    return _KNOWN[word]


def _write_truth(
    path: Path,
    ids: Sequence[str],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    jaccard: npt.NDArray[np.float64],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"a": [ids[at] for at in first], "b": [ids[at] for at in second], "jaccard": jaccard}
    pq.write_table(pa.table(columns), path)
