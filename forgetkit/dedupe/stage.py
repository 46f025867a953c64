"""`dedupe`: take the output folder, do the work of the level, write the summary last."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.cutting import Units
from forgetkit.dedupe.documents import Documents
from forgetkit.dedupe.job import Job
from forgetkit.dedupe.outcome import MARKER, DedupeResult, result_of
from forgetkit.dedupe.signing import Sign
from forgetkit.dedupe.stored import Store
from forgetkit.dedupe.units import run_units
from forgetkit.engine import Plan, Shard, engine_of, plan
from forgetkit.errors import UsageError
from forgetkit.files import claim_folder, digest_of, sha256_file, write_json
from forgetkit.progress import Progress, Silent

if TYPE_CHECKING:
    from forgetkit.embed import Embedder


def dedupe(
    source: Sequence[Path],
    out: Path,
    *,
    against: Sequence[Path] = (),
    signatures: Path | None = None,
    config: DedupeConfig | None = None,
    workers: int = 1,
    engine: str = "local",
    embedder: Embedder | None = None,
    progress: Progress | None = None,
) -> DedupeResult:
    """Keep one document of each group of copies, or one of each repeated line or paragraph.

    A run that was killed goes on where it was, and gives the same bytes for any number of workers.

    Args:
        source: files and folders of a corpus.
        out: folder for `kept/` (the corpus without its copies, file by file),
            `duplicates.parquet` (which document each copy matched), `clusters.parquet`,
            `quarantine.jsonl` and `summary.json`.
        against: another corpus; what it holds goes from ours, and it stays as it is.
        signatures: folder of signatures; what earlier runs kept counts as another corpus, and
            what this run keeps is added.
        config: settings.
        workers: threads, or CPUs of a local Ray.
        engine: local or ray.
        embedder: the model of semantic duplicates; None opens the one that the settings name.
        progress: who watches.

    Raises:
        InputError: a path is missing, the corpus is empty, or the signatures do not fit.
        TamperedError: a file of the signatures is not what an earlier run wrote.
        TooManyBadRowsError: after `quarantine.jsonl` was written.
        UsageError: `out` holds something else, or settings contradict each other.
    """
    began = time.monotonic()
    config = config or DedupeConfig()
    job, identity = _job(
        source, out, against, signatures, config, workers, engine, progress, embedder
    )
    if not claim_folder(out, MARKER, identity):
        _sweep(out)
        whole = job.config.level == "document"
        with engine_of(engine, workers):
            summary = Documents(job).run() if whole else run_units(job)
        shutil.rmtree(job.parts_folder, ignore_errors=True)
        write_json(out / MARKER, identity | summary)
    return result_of(out, _outputs(config), time.monotonic() - began)


def dedupe_shard(
    source: Sequence[Path],
    out: Path,
    shard: Shard,
    *,
    against: Sequence[Path] = (),
    signatures: Path | None = None,
    config: DedupeConfig | None = None,
    workers: int = 1,
    engine: str = "local",
    progress: Progress | None = None,
) -> dict[str, int]:
    """Take the first look at one shard; `dedupe` with the same arguments then finds it done.

    Returns:
        The number of tasks done here and of all tasks.

    Raises:
        As `dedupe`.
    """
    config = config or DedupeConfig()
    job, identity = _job(source, out, against, signatures, config, workers, engine, progress, None)
    claim_folder(out, MARKER, identity)
    whole = config.level == "document"
    return job.find_shard(
        Sign(job.signer, config.columns) if whole else Units(job.signer, config), shard
    )


def preview(
    source: Sequence[Path], *, against: Sequence[Path] = (), config: DedupeConfig | None = None
) -> dict[str, int]:
    """Count what a run would read; writes nothing.

    Raises:
        InputError: a path is missing.
    """
    ours, theirs = _plans(source, against, config or DedupeConfig())
    return {
        "files": len(ours.fingerprints),
        "bytes": ours.size,
        "tasks": len(ours.tasks) + len(theirs.tasks),
        "ignored": len(ours.ignored),
        "against_files": len(theirs.fingerprints),
        "against_bytes": theirs.size,
    }


def _plans(
    source: Sequence[Path], against: Sequence[Path], config: DedupeConfig
) -> tuple[Plan, Plan]:
    unit = int(config.task_mb * 10**6)
    return plan(source, unit), plan(against, unit)


def _job(
    source: Sequence[Path],
    out: Path,
    against: Sequence[Path],
    signatures: Path | None,
    config: DedupeConfig,
    workers: int,
    engine: str,
    progress: Progress | None,
    embedder: Embedder | None,
) -> tuple[Job, dict[str, Any]]:
    """Return what is to be done, and what makes two runs the same."""
    _refuse_contradictions(config, against, signatures)
    ours, theirs = _plans(source, against, config)
    inputs = {"inputs": _digests(ours), "against": _digests(theirs)}
    identity = {
        "command": "dedupe",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "signatures": signatures is not None,
        **inputs,
    }
    digest = digest_of(identity)
    job = Job(
        paths=source,
        ours=ours,
        theirs=theirs,
        store=Store.open(signatures, config, digest) if signatures else None,
        out=out,
        config=config,
        digest=digest,
        inputs=digest_of(inputs),
        workers=workers,
        engine=engine,
        progress=progress or Silent(),
        embedder=embedder,
    )
    return job, identity


def _digests(planned: Plan) -> dict[str, str]:
    """Return the SHA-256 of each file: nobody shall make two corpora that pass for one."""
    files = {piece.label: piece.path for task in planned.tasks for piece in task.pieces}
    return {label: sha256_file(path) for label, path in files.items()}


def _sweep(out: Path) -> None:
    """Remove the unfinished files of a run that was killed; they may hold protected text."""
    for path in sorted(out.rglob(".*")):
        if path.is_file() and path.name != f".{MARKER}.started":
            path.unlink()


def _outputs(config: DedupeConfig) -> tuple[str, ...]:
    if config.level != "document":
        corpus = "labels.parquet" if config.annotate else "kept"
        return corpus, "duplicates.parquet", "quarantine.jsonl"
    corpus = "labels.parquet" if config.annotate else "kept"
    alike = () if config.semantic == "off" else ("semantic.parquet",)
    return corpus, *alike, "duplicates.parquet", "clusters.parquet", "quarantine.jsonl"


def _refuse_contradictions(
    config: DedupeConfig, against: Sequence[Path], signatures: Path | None
) -> None:
    if config.against_only and not against and signatures is None:
        raise UsageError("against_only needs another corpus", mend="Add --against or --signatures.")
    if signatures is not None and not (config.near and config.level == "document"):
        raise UsageError("signatures are of whole documents, near duplicates among them")
    if config.level != "document" and (config.keep != "first" or config.prefer):
        raise UsageError(
            f"of equal {config.level}s the first stays", mend="Leave --keep and --prefer out."
        )
    idle = [
        name
        for name in ("near", "verify_representative", "semantic")
        if name in config.model_fields_set and getattr(config, name) not in (False, "off")
    ]
    if config.level != "document" and idle:
        raise UsageError(
            f"{config.level}s are compared exactly", found=", ".join(idle), mend="Leave it out."
        )
