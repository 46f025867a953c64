"""The stage: a corpus past the detectors, spans out, books kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from forgetkit import __version__, registry
from forgetkit.engine import Output, Part, Plan, Shard, once, plan, run
from forgetkit.engine.books import books_of, check_bad_rows, check_not_empty, write_quarantine
from forgetkit.errors import UsageError
from forgetkit.files import PARTS, claim_folder, digest_of, sha256_file, write_json
from forgetkit.mine.config import MineConfig
from forgetkit.mine.detector import Detector
from forgetkit.mine.gather import Tally, reports_of, write_spans_of
from forgetkit.mine.look import Look, as_spans, as_table, gathered
from forgetkit.mine.result import MARKER, QUARANTINE, SPANS, MineResult, read_result, tidy
from forgetkit.mine.sought import digests
from forgetkit.progress import Progress, Silent
from forgetkit.spans import Span


@dataclass(frozen=True)
class _Job:
    """One run: what is read, what is looked for, and where the result goes."""

    plan: Plan
    look: Look
    config: MineConfig
    out: Path
    identity: dict[str, Any]
    progress: Progress

    @property
    def parts(self) -> Path:
        return self.out / PARTS


def mine(
    corpus: Sequence[Path],
    out: Path,
    *,
    works: Sequence[Path] = (),
    seeds: Path | None = None,
    config: MineConfig | None = None,
    progress: Progress | None = None,
    workers: int = 1,
    engine: str = "local",
) -> MineResult:
    """Look for works, seeds, patterns or harm in a corpus.

    Memory does not grow with the corpus. A run that was killed goes on where it was, and gives the
    same bytes for any number of workers.

    Args:
        corpus: files and folders.
        out: folder for `spans.parquet`, `quarantine.jsonl` and `summary.json`; the same run a
            second time reads its result from there.
        works: text files, folders or tables of protected works, or an index of them.
        seeds: a file of single texts for the semantic detector.
        config: settings.
        progress: who watches.
        workers: threads or processes.
        engine: local or ray.

    Raises:
        UsageError: an unknown detector, or one that has nothing to look for; `out` holds
            something else.
        InputError: a path is missing, or the corpus is empty.
        TooManyBadRowsError: after `quarantine.jsonl` was written.
        TamperedError: a result of this run is there, and was changed.
    """
    began = time.monotonic()
    job = _job(corpus, out, works, seeds, config or MineConfig(), progress or Silent())
    if (out / MARKER).is_file() and claim_folder(out, MARKER, job.identity):
        tidy(out)
        return read_result(out, time.monotonic() - began, check=True)
    _ready(job)
    parts = run(
        job.plan.tasks,
        job.look,
        job.parts,
        job.look.key,
        workers=workers,
        engine=engine,
        progress=job.progress,
    )
    write_quarantine(parts, out / QUARANTINE)
    check_bad_rows(parts, job.config.max_bad_rows)
    check_not_empty(parts, corpus)
    judged, said = _judge(job, parts)
    tally = write_spans_of(parts, judged, out / SPANS, job.config)
    summary = _summary(job, tally, parts, reports_of(parts, said))
    for name, lines in job.look.calibration.items():
        summary["reports"][name] |= lines
    write_json(out / MARKER, job.identity | summary)
    tidy(out)
    return read_result(out, time.monotonic() - began, check=False)


def mine_shard(
    corpus: Sequence[Path],
    out: Path,
    shard: Shard,
    *,
    works: Sequence[Path] = (),
    seeds: Path | None = None,
    config: MineConfig | None = None,
    progress: Progress | None = None,
    workers: int = 1,
    engine: str = "local",
) -> dict[str, int]:
    """Do the tasks of one shard; `mine` with the same arguments then finds them done.

    Returns:
        The number of tasks done here and of all tasks.

    Raises:
        As `mine`.
    """
    job = _job(corpus, out, works, seeds, config or MineConfig(), progress or Silent())
    _ready(job)
    tasks = shard.of(job.plan.tasks)
    run(
        tasks,
        job.look,
        job.parts,
        job.look.key,
        workers=workers,
        engine=engine,
        progress=job.progress,
    )
    return {"tasks": len(tasks), "of": len(job.plan.tasks)}


def preview(corpus: Sequence[Path], config: MineConfig | None = None) -> dict[str, int]:
    """Count what a run would read; writes nothing.

    Raises:
        UsageError: an unknown detector.
        InputError: a path is missing.
    """
    config = config or MineConfig()
    _check_names(config)
    planned = plan(corpus, int(config.task_mb * 10**6))
    return {
        "files": len(planned.fingerprints),
        "bytes": planned.size,
        "tasks": len(planned.tasks),
        "ignored": len(planned.ignored),
    }


def _job(
    corpus: Sequence[Path],
    out: Path,
    works: Sequence[Path],
    seeds: Path | None,
    config: MineConfig,
    progress: Progress,
) -> _Job:
    _check_names(config)
    progress.stage("reading fingerprints of the corpus", None)
    planned = plan(corpus, int(config.task_mb * 10**6))
    sought = digests(works, seeds, config.ignore)
    for role, path in (("patterns", config.patterns), ("calibrate", config.calibrate)):
        if path is not None:
            sought[role] = sha256_file(path)
    looking = digest_of([__version__, config.of_looking(), sought])
    corpora = {label: f"xxh3:{mark}" for label, mark in planned.fingerprints.items()}
    identity = {
        "command": "mine",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": {"corpus": corpora, **sought},
    }
    look = Look(works, seeds, config, looking)
    return _Job(planned, look, config, out, identity, progress)


def _ready(job: _Job) -> None:
    """Make the detectors, claim the folder, and let them learn from the corpus."""
    job.progress.stage("reading what is looked for", None)
    job.look.prepare(job.progress)
    claim_folder(job.out, MARKER, job.identity)
    job.look.learn(job.plan, job.parts, job.progress)


def _check_names(config: MineConfig) -> None:
    for name in (*config.detectors, *config.thresholds):
        registry.lookup("detectors", name)
    if config.agree > len(config.detectors):
        raise UsageError(
            f"{config.agree} detectors cannot agree",
            found=", ".join(config.detectors),
            mend="Name more detectors, or lower --agree.",
        )


def _judge(job: _Job, parts: Sequence[Part]) -> tuple[list[Span], dict[str, dict[str, object]]]:
    """Let each detector judge its candidates; what it found and says is kept like a part."""
    spans: list[Span] = []
    said: dict[str, dict[str, object]] = {}
    for name, detector in job.look.detectors.items():
        key = digest_of([job.look.key, name, [part.key for part in parts]])[:32]
        judged = once(job.parts, key, partial(_finish, name, detector, parts, job.progress))
        table = judged.table("judged")
        spans += as_spans(table.to_pylist()) if table is not None else []
        said[name] = dict(judged.counts)
    return spans, said


def _finish(name: str, detector: Detector, parts: Sequence[Part], progress: Progress) -> Output:
    import pyarrow as pa

    tables = (part.table(f"candidates-{name}") for part in parts)
    held = gathered(detector, (table for table in tables if table is not None))
    found = detector.finish(pa.concat_tables(held) if held else None, progress)
    return Output({"judged": as_table(found)} if found else {}, detector.report())


def _summary(
    job: _Job, tally: Tally, parts: Sequence[Part], reports: dict[str, dict[str, object]]
) -> dict[str, Any]:
    books = books_of(parts)
    names = job.config.detectors
    searched = "verbatim" in names
    return {
        "documents": sum(counts.kept for counts in books.values()),
        "counts": {name: tally.spans.get(name, 0) for name in names},
        "documents_with_spans": tally.documents,
        "edit_classes": dict(sorted(tally.edit_classes.items())),
        "missing_works": [
            name for name in job.look.work_ids if searched and name not in tally.works
        ],
        "accounting": {file: asdict(counts) for file, counts in books.items()},
        "ignored_files": list(job.plan.ignored),
        "reports": reports,
        "outputs": {name: sha256_file(job.out / name) for name in (SPANS, QUARANTINE)},
    }
