"""The stage: documents past the detectors, spans out, books kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetkit import __version__, registry
from forgetkit.corpus import Quarantine, corpus_files, read_batches
from forgetkit.files import claim_folder, read_json, sha256_file, write_json
from forgetkit.mine.calibrate import calibrated
from forgetkit.mine.config import MineConfig
from forgetkit.mine.detector import Detector, Sought
from forgetkit.mine.sought import digests, read_sought
from forgetkit.progress import Progress, Silent
from forgetkit.spans import Span, read_spans, write_spans

COVERED = 0.9  # share of a semantic span that copies cover, from which it says nothing new
MARKER = "summary.json"


@dataclass(frozen=True)
class MineResult:
    """What `mine` found.

    Attributes:
        spans: the spans, as in `spans.parquet`.
        counts: spans by detector.
        missing_works: ids of works of which nothing was found.
        accounting: by file, rows read, kept and quarantined.
        reports: by detector, what it says about its own work (windows never read, thresholds).
        warnings: sentences for the user.
        outputs: the files written, by name.
        seconds: wall-clock time.
    """

    spans: list[Span]
    counts: dict[str, int]
    missing_works: list[str]
    accounting: dict[str, dict[str, int]]
    reports: dict[str, dict[str, Any]]
    warnings: list[str]
    outputs: dict[str, Path]
    seconds: float


def mine(
    corpus: Sequence[Path],
    out: Path,
    *,
    works: Sequence[Path] = (),
    seeds: Path | None = None,
    config: MineConfig | None = None,
    progress: Progress | None = None,
) -> MineResult:
    """Look for works, seeds or harm in a corpus.

    Args:
        corpus: files and folders.
        out: folder for `spans.parquet`, `quarantine.jsonl` and `summary.json`; the same run a
            second time reads its result from there.
        works: text files, folders or tables of protected works.
        seeds: a file of single texts for the semantic detector.
        config: settings.
        progress: who watches.

    Raises:
        UsageError: an unknown detector, or one that has nothing to look for; `out` holds
            something else.
        InputError: a path is missing, or the corpus is empty.
        TooManyBadRowsError: after `quarantine.jsonl` was written.
    """
    began = time.monotonic()
    config, progress = config or MineConfig(), progress or Silent()
    for name in config.detectors:
        registry.lookup("detectors", name)
    inputs = {
        "corpus": {label: sha256_file(path) for label, path in corpus_files(corpus)},
        **digests(works, seeds, config.ignore),
    }
    for role, path in (("patterns", config.patterns), ("calibrate", config.calibrate)):
        if path is not None:
            inputs[role] = sha256_file(path)
    identity = {
        "command": "mine",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": inputs,
    }
    if (out / MARKER).is_file() and claim_folder(out, MARKER, identity):
        return _result(out, time.monotonic() - began)
    sought = read_sought(works, seeds)
    detectors = _detectors(sought, config)
    config, calibration = calibrated(config, detectors, progress)
    if calibration:
        detectors = _detectors(sought, config)
    claim_folder(out, MARKER, identity)
    found = _search(corpus, out, detectors, config, progress)
    write_spans(out / "spans.parquet", found.spans)
    summary = identity | _summary(found, sought, detectors)
    for name, lines in calibration.items():
        summary["reports"][name] |= lines
    write_json(out / MARKER, summary)
    return _result(out, time.monotonic() - began)


def _detectors(sought: Sought, config: MineConfig) -> dict[str, Detector]:
    return {
        name: registry.lookup("detectors", name).load()(sought, config) for name in config.detectors
    }


@dataclass(frozen=True)
class _Found:
    spans: list[Span]
    quarantine: Quarantine
    documents: int


def _search(
    corpus: Sequence[Path],
    out: Path,
    detectors: dict[str, Detector],
    config: MineConfig,
    progress: Progress,
) -> _Found:
    import pyarrow as pa

    quarantine = Quarantine(config.max_bad_rows)
    kept: dict[str, list[pa.Table]] = {name: [] for name in detectors}
    spans: list[Span] = []
    documents = 0
    progress.stage("reading the corpus", None)
    try:
        for batch in read_batches(corpus, columns=config.columns, quarantine=quarantine):
            documents += len(batch)
            for name, detector in detectors.items():
                found = detector.look(batch)
                spans += found.spans
                if found.candidates is not None:
                    kept[name].append(found.candidates)
            progress.advance(len(batch))
    finally:
        quarantine.write(out / "quarantine.jsonl")
    quarantine.check()
    for name, detector in detectors.items():
        tables = kept[name]
        spans += detector.finish(pa.concat_tables(tables) if tables else None, progress)
    return _Found(_without_covered(spans), quarantine, documents)


def _without_covered(spans: list[Span]) -> list[Span]:
    """Drop semantic spans that copies cover: the copy says more."""
    copies: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        if span.detector == "verbatim":
            copies.setdefault((span.source, span.field), []).append(span)
    return [
        span
        for span in spans
        if span.detector != "semantic"
        or _coverage(span, copies.get((span.source, span.field), [])) < COVERED
    ]


def _coverage(span: Span, copies: list[Span]) -> float:
    covered, at = 0, span.start
    for copy in sorted(copies, key=lambda c: c.start):
        begin, end = max(at, copy.start), min(span.end, copy.end)
        if end > begin:
            covered += end - begin
            at = end
    return covered / (span.end - span.start)


def _summary(found: _Found, sought: Sought, detectors: dict[str, Detector]) -> dict[str, Any]:
    counts = Counter(span.detector for span in found.spans)
    seen = {span.work_id for span in found.spans if span.detector == "verbatim"}
    searched = "verbatim" in detectors
    return {
        "documents": found.documents,
        "counts": {name: counts.get(name, 0) for name in detectors},
        "documents_with_spans": len({(s.source, s.doc_id) for s in found.spans}),
        "edit_classes": dict(
            sorted(Counter(s.edit_class for s in found.spans if s.edit_class).items())
        ),
        "missing_works": [w.work_id for w in sought.works if searched and w.work_id not in seen],
        "accounting": found.quarantine.accounting(),
        "ignored_files": sorted(found.quarantine.ignored),
        "reports": {name: detector.report() for name, detector in detectors.items()},
    }


def _result(out: Path, seconds: float) -> MineResult:
    summary = read_json(out / MARKER)
    names = ("spans.parquet", "quarantine.jsonl", MARKER)
    return MineResult(
        spans=read_spans(out / "spans.parquet"),
        counts=summary["counts"],
        missing_works=summary["missing_works"],
        accounting=summary["accounting"],
        reports=summary["reports"],
        warnings=_warnings(summary),
        outputs={name: out / name for name in names},
        seconds=seconds,
    )


def _warnings(summary: dict[str, Any]) -> list[str]:
    warnings = [f"work '{name}' is nowhere in the corpus" for name in summary["missing_works"]]
    unread = summary["reports"].get("semantic", {}).get("windows_never_read", 0)
    if unread:
        warnings.append(f"{unread} windows were never read by meaning (see max_windows)")
    bad = sum(counts["quarantined"] for counts in summary["accounting"].values())
    if bad:
        warnings.append(f"{bad} bad rows were put into quarantine.jsonl")
    if summary["ignored_files"]:
        warnings.append(f"{len(summary['ignored_files'])} files of unknown kind were ignored")
    return warnings
