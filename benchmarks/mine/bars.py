"""The bars of the corpus half, each with our figure, the peers' and whether it is met."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from score import document_scores, exact_scores, near_scores, read_lines, span_scores

LEAST = 0.8
Results = dict[str, dict[str, Any]]

BOOKS = (
    "about half of the time reads Parquet for each step, writes what is kept and syncs the parts "
    "from which a killed run goes on; the peers hold everything in memory"
)
ENDS = (
    "strange words put in close to an end, letters misread in its last words, or letters behind it "
    "that agree by chance"
)
REASONS = {
    "copied spans, scan in memory: dolma Bloom": "a third of the time folds and hashes, two "
    "fifths align and settle the copies that are there",
    "near duplicates: rensa": BOOKS,
    "near duplicates: text-dedup": BOOKS,
    "near duplicates: datatrove": BOOKS,
    "offsets exact in the document": ENDS,
    "offsets exact in the work": ENDS,
    "stretch: covered at 10 % substitution": "of 40 words more than one in nine changed: so does "
    "another translation of the same text",
    "MiniLM on CPU: sentence-transformers": "the gain is bf16's, at cosine .9999, where the "
    "processor has it; int8 is faster, at .992",
}
"""Why a bar is not met, by its name, where more is known than the figure says."""


@dataclass(frozen=True)
class Bar:
    """One row of the table."""

    job: str
    bar: str
    ours: str
    peer: str
    ratio: float | None
    met: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Sizes:
    """The data of one size: their folder, and 10^6 bytes of UTF-8 of corpus and documents."""

    folder: Path
    spans: float
    near: float


@dataclass
class Measured:
    """What the rows are made of."""

    results: Results
    sizes: dict[str, Sizes]
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)

    def seconds(self, name: str, part: str = "find") -> float | None:
        """Return the CPU seconds of a part of a job, None where it failed."""
        part_seconds = self.results.get(name, {}).get("seconds", {}).get(part)
        return None if part_seconds is None else float(part_seconds["cpu"])

    def data(self, name: str) -> Sizes:
        """Return the data that a job read."""
        return self.sizes[self.results.get(name, {}).get("size", next(iter(self.sizes)))]

    def rate(self, name: str, *parts: str, of: str) -> float | None:
        """Return MB of `spans` or `near`, or texts of `count`, a CPU second over parts of a job."""
        found = self.results.get(name, {})
        size = found.get("count", 0) if of == "count" else getattr(self.data(name), of)
        spent = [self.seconds(name, part) for part in parts]
        if any(part is None for part in spent):
            return None
        return float(size) / max(1e-9, sum(part for part in spent if part is not None))


def score_all(measured: Measured) -> None:
    """Add the quality of every result."""
    for name, found in measured.results.items():
        data = measured.data(name).folder
        truth = read_lines(data / "spans/truth.jsonl")
        if "spans" in found:
            measured.scores[name] = span_scores(truth, found["spans"])
        if "documents" in found:
            measured.scores[name] = {"all": document_scores(truth, found["documents"])}
        for pairs in ("pairs", "verified"):
            if pairs in found:
                key = name if pairs == "pairs" else f"{name} verified"
                measured.scores[key] = near_scores(data / "near", LEAST, found, pairs)
        if "kept" in found:
            measured.scores[name] = near_scores(data / "near", LEAST, found, "pairs")
        if "exact" in found:
            measured.scores[f"{name} exact"] = exact_scores(data / "near", found["exact"])


def bars(m: Measured) -> list[Bar]:
    """Return every bar of the design, in its order."""
    return [*_span_bars(m), *_near_bars(m), *_exact_bars(m), *_classify_bars(m), *_embed_bars(m)]


def _span_bars(m: Measured) -> list[Bar]:
    scan = m.rate("spans forgetkit", "find", of="spans")
    whole = m.rate("spans forgetkit", "mine", of="spans")
    bloom = m.rate("spans dolma", "find", of="spans")
    rows = [
        faster("copied spans, scan in memory", 40, scan, "dolma Bloom", bloom, "MB/s"),
        faster(
            "copied spans, `mine` Parquet to Parquet", None, whole, "dolma Bloom", bloom, "MB/s"
        ),
    ]
    score = m.scores.get("spans forgetkit", {}).get("all", {})
    peer = m.scores.get("spans dolma", {}).get("all", {})
    for name, least in (("found", 0.99), ("covered", 0.98), ("precision", 0.99)):
        rows.append(at_least(f"copied spans, {name}", least, score.get(name), peer.get(name)))
    for side in ("exact", "work_exact"):
        place = "document" if side == "exact" else "work"
        rows.append(at_least(f"offsets exact in the {place}", 1.0, score.get(side), peer.get(side)))
    tenth = m.scores.get("spans forgetkit", {}).get("kinds", {}).get("words_10", {})
    rows.append(at_least("stretch: covered at 10 % substitution", 1.0, tenth.get("covered"), None))
    return rows


def _near_bars(m: Measured) -> list[Bar]:
    ours = m.rate("near forgetkit", "find", of="near")
    rows = []
    for peer, times, parts in (
        ("rensa", 8, ("find", "write")),
        ("text-dedup", 40, ("find",)),
        ("datatrove", 100, ("find",)),
        ("datasketch", None, ("find", "write")),
        ("semhash", None, ("find",)),
    ):
        rate = m.rate(f"near {peer}", *parts, of="near")
        rows.append(faster("near duplicates", times, ours, peer, rate, "MB/s"))
    score = m.scores.get("near forgetkit", {})
    peer_score = m.scores.get("near rensa", {})
    for name, least in (("recall", 0.995), ("precision", 1.0)):
        row = at_least(f"near duplicates, {name}", least, score.get(name), peer_score.get(name))
        rows.append(row)
    return rows


def _exact_bars(m: Measured) -> list[Bar]:
    ours = m.rate("near forgetkit", "exact", of="near")
    peer = m.rate("spans dolma", "exact", "mix", of="near")
    wrong = m.scores.get("near forgetkit exact", {}).get("wrong")
    theirs = m.scores.get("spans dolma exact", {}).get("wrong")
    clean = Bar(
        "exact documents, dropped without a twin",
        "0",
        _text(wrong),
        f"dolma {_text(theirs)}",
        None,
        None if wrong is None else wrong == 0,
    )
    return [faster("exact documents, end to end", 4, ours, "dolma Bloom", peer, "MB/s"), clean]


def _classify_bars(m: Measured) -> list[Bar]:
    ours = m.rate("linear forgetkit", "find", of="near")
    peer = m.rate("linear scikit-learn", "find", of="near")
    return [faster("linear harm classifier", 10, ours, "scikit-learn", peer, "MB/s")]


def _embed_bars(m: Measured) -> list[Bar]:
    rows = []
    for job, times, mine, theirs, least in (
        ("static embedding", 10, "static forgetkit", "static model2vec", 0.9999),
        ("MiniLM on CPU", 1.9, "minilm forgetkit", "minilm sentence-transformers", 0.999),
    ):
        rates = [m.rate(name, "find", of="count") for name in (mine, theirs)]
        rows.append(faster(job, times, rates[0], theirs.split()[1], rates[1], "sentences/s"))
        alike = least_cosine(m.results.get(mine, {}), m.results.get(theirs, {}))
        rows.append(at_least(f"{job}, least cosine to it", least, alike, None))
    return rows


def least_cosine(one: dict[str, Any], two: dict[str, Any]) -> float | None:
    """Return the least cosine of the vectors of two jobs, None where one has none."""
    import numpy as np

    if "vectors" not in one or "vectors" not in two:
        return None
    a, b = np.array(one["vectors"]), np.array(two["vectors"])
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / norms).min())


def faster(
    job: str, times: float | None, ours: float | None, peer: str, rate: float | None, unit: str
) -> Bar:
    """Return a row about speed; without `times` it states the ratio and judges nothing."""
    ratio = ours / rate if ours and rate else None
    bar = f"≥ {times:g}× {peer}" if times else "for comparison"
    met = None if times is None or ratio is None else ratio >= times
    reason = ""
    if times and ratio is None:
        reason = f"{peer} was not measured" if ours else "forgetkit was not measured"
    elif met is False:
        reason = REASONS.get(f"{job}: {peer}", "")
    return Bar(job, bar, _text(ours, unit), f"{peer} {_text(rate, unit)}", ratio, met, reason)


def at_least(job: str, least: float, ours: float | None, peer: float | None) -> Bar:
    """Return a row about quality."""
    met = None if ours is None else round(ours, 4) >= least
    reason = "not measured" if ours is None else ""
    if met is False:
        reason = REASONS.get(job, "")
    return Bar(job, f"≥ {least:g}", _text(ours), _text(peer), None, met, reason)


def _text(value: float | None, unit: str = "") -> str:
    if value is None:
        return "–"
    if unit:
        return f"{value:,.1f} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
