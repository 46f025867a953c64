"""Copied spans: works, a corpus with copies of them, and the exact place of each on both sides."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from edits import EDITS
from markov import Markov, word_counts
from origins import Origins

from forgetkit.seeds import generator

WORK_WORDS = 60_000
HOST_WORDS = 800
LEAST_WORDS, MOST_WORDS = 40, 250  # of a copied passage: 200 to 1,400 characters
FILES = 4
LIKE_WORKS = 0.05
"""Share of the made hosts that a chain over the works wrote. Works and hosts of the sources, 1 and
1.9 MB, have 1.2e-4 of their runs of 24 letters in common; chains over two disjoint halves have a
tenth of that. With this share it is about 7e-4 against 5 MB of works, none longer than 48: the
phrases that real prose shares, and no copy that nobody planted."""
_WORD = re.compile(r"\S+")
_BREAK = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Planted:
    """One copy: `[start, end)` in the document and in the work, in code points."""

    doc_id: str
    start: int
    end: int
    work_id: str
    work_start: int
    work_end: int
    kind: str


def make_spans(out: Path, origins: Origins, works: int, corpus: int, each: int, seed: int) -> None:
    """Write `works.parquet`, `corpus/part-N.parquet` and `truth.jsonl`.

    Args:
        out: the folder.
        origins: text that is imitated; itself among the works and the hosts.
        works: characters of all works.
        corpus: characters of all documents.
        each: copies of each kind.
        seed: of every choice.
    """
    texts = _works(origins, works, generator(seed, "bench works"))
    hosts = make_hosts(origins, corpus, generator(seed, "bench hosts"))
    rng = random.Random(f"{seed} bench copies")
    common = [word for word in origins.hosts[0].split() if word.isalpha() and len(word) > 2]
    kinds = [kind for kind in EDITS for _ in range(each)]
    rng.shuffle(kinds)
    places = rng.sample([at for at in range(len(hosts)) if len(hosts[at]) > 400] * 2, len(kinds))
    by_host: dict[int, list[str]] = {}
    for place, kind in zip(places, kinds, strict=True):
        by_host.setdefault(place, []).append(kind)
    pick = _Passages(texts, rng)
    truth: list[Planted] = []
    for place in sorted(by_host):
        chosen = [(kind, pick.passage()) for kind in by_host[place]]
        hosts[place] = _plant(f"d{place:06d}", hosts[place], chosen, pick, common, truth)
    write_table(out / "works.parquet", {"work": list(texts), "text": list(texts.values())})
    (out / "corpus").mkdir(exist_ok=True)
    step = -(-len(hosts) // FILES)
    for part in range(FILES):
        rows = range(part * step, min(len(hosts), (part + 1) * step))
        table = {"id": [f"d{row:06d}" for row in rows], "text": [hosts[row] for row in rows]}
        write_table(out / "corpus" / f"part-{part}.parquet", table)
    lines = [json.dumps(asdict(planted)) + "\n" for planted in truth]
    (out / "truth.jsonl").write_text("".join(lines), encoding="utf-8")


def _works(origins: Origins, characters: int, random: np.random.Generator) -> dict[str, str]:
    texts = dict(origins.works)
    left = characters - sum(map(len, texts.values()))
    count = max(0, round(left / (WORK_WORDS * 5.6)))
    made = Markov(list(texts.values())).texts([WORK_WORDS] * count, random)
    return texts | {f"made-{number:04d}": text for number, text in enumerate(made)}


def make_hosts(origins: Origins, characters: int, random: np.random.Generator) -> list[str]:
    """Return documents of about so many characters: the real ones, and made ones, in any order."""
    real = [piece for text in origins.hosts for piece in _pieces(text)]
    left = max(0, characters - sum(map(len, real)))
    lengths = word_counts(left, HOST_WORDS, 30, random).tolist()
    alike = round(LIKE_WORKS * len(lengths))
    hosts = [*real, *Markov(origins.hosts).texts(lengths[alike:], random)]
    hosts += Markov(list(origins.works.values()), second=0.0).texts(lengths[:alike], random)
    return [hosts[at] for at in random.permutation(len(hosts))]


def _pieces(text: str) -> Iterator[str]:
    """Cut a long text into documents of about 4,500 characters at paragraph ends."""
    piece: list[str] = []
    for paragraph in text.split("\n\n"):
        piece.append(paragraph)
        if sum(map(len, piece)) > 4500:
            yield "\n\n".join(piece)
            piece = []
    if piece:
        yield "\n\n".join(piece)


class _Passages:
    """Draw passages of the works at random."""

    def __init__(self, texts: dict[str, str], rng: random.Random) -> None:
        self.texts, self.rng = texts, rng
        self._names = list(texts)
        self._weights = [len(text) for text in texts.values()]

    def passage(self) -> tuple[str, int, int]:
        """Return work, start and end; it begins and ends with a letter or digit."""
        low, high = np.log(LEAST_WORDS), np.log(MOST_WORDS)
        while True:
            work = self.rng.choices(self._names, self._weights)[0]
            text = self.texts[work]
            words = round(float(np.exp(self.rng.uniform(low, high))))
            begin = self.rng.randrange(0, max(1, len(text) - 12 * words))
            found = [m.span() for m in _WORD.finditer(text, begin, begin + 12 * words)]
            if len(found) < words + 2:
                continue
            start, end = found[1][0], found[words][1]
            while not text[start].isalnum():
                start += 1
            while not text[end - 1].isalnum():
                end -= 1
            if end - start >= 4 * words:
                return work, start, end


def _plant(
    doc_id: str,
    host: str,
    copies: list[tuple[str, tuple[str, int, int]]],
    pick: _Passages,
    common: list[str],
    truth: list[Planted],
) -> str:
    """Return the host with the copies in it; what stands around a copy does not continue it."""
    cuts: list[int] = []
    for _, (work, start, end) in copies:
        cuts.append(_cut(host, pick.texts[work], start, end, cuts, pick.rng))
    pieces: list[str] = []
    at = length = 0
    for cut, (kind, (work, start, end)) in sorted(zip(cuts, copies, strict=True)):
        copy = EDITS[kind](pick.texts[work][start:end], common, pick.rng)
        margin = next(place for place, letter in enumerate(copy) if letter.isalnum())
        space = pick.rng.choice(("\n\n", " "))
        before = host[at:cut] + (space if cut and not host[cut - 1].isspace() else "")
        before, copy = before + copy[:margin], copy[margin:]
        length += len(before)
        truth.append(Planted(doc_id, length, length + len(copy), work, start, end, kind))
        pieces += [before, copy, space]
        length += len(copy) + len(space)
        at = cut
    return "".join([*pieces, host[at:]])


def _cut(host: str, work: str, start: int, end: int, taken: list[int], rng: random.Random) -> int:
    """Return a sentence end of the host where neither neighbour agrees with the work's."""
    options = [0, *(match.end() for match in _BREAK.finditer(host)), len(host)]
    rng.shuffle(options)
    before, after = _symbol(work[max(0, start - 40) : start][::-1]), _symbol(work[end : end + 40])
    for cut in options:
        here = _symbol(host[max(0, cut - 40) : cut][::-1])
        there = _symbol(host[cut : cut + 40])
        if cut not in taken and (here != before or not here) and (there != after or not there):
            return cut
    return options[0]


def _symbol(text: str) -> str:
    return next((letter.casefold() for letter in text if letter.isalnum()), "")


def write_table(path: Path, columns: dict[str, list[str]]) -> None:
    """Write columns of text as Parquet in row groups of 2,048."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({name: pa.large_string() for name in columns})
    pq.write_table(pa.table(columns, schema=schema), path, row_group_size=2048, compression="zstd")
