"""`dedupe`: take the output folder, do the work of the level, write the summary last."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__
from forgetkit.corpus import Quarantine
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.documents import Documents
from forgetkit.dedupe.job import Job, sources_of
from forgetkit.dedupe.outcome import MARKER, DedupeResult, result_of
from forgetkit.dedupe.stored import Store
from forgetkit.dedupe.units import run_units
from forgetkit.errors import UsageError
from forgetkit.files import claim_folder, digest_of, write_json
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
    embedder: Embedder | None = None,
    progress: Progress | None = None,
) -> DedupeResult:
    """Keep one document of each group of copies, or one of each repeated line or paragraph.

    Args:
        source: files and folders of a corpus.
        out: folder for `kept/` (the corpus without its copies, file by file),
            `duplicates.parquet` (which document each copy matched), `clusters.parquet`,
            `quarantine.jsonl` and `summary.json`.
        against: another corpus; what it holds goes from ours, and it stays as it is.
        signatures: folder of signatures; what earlier runs kept counts as another corpus, and
            what this run keeps is added.
        config: settings.
        embedder: the model of semantic duplicates; None opens the one that the settings name.
        workers: threads; their number changes no byte of the outputs.
        progress: who watches.

    Raises:
        InputError: a path is missing, the corpus is empty, or the signatures do not fit.
        TamperedError: a file of the signatures is not what an earlier run wrote.
        TooManyBadRowsError: after `quarantine.jsonl` was written.
        UsageError: `out` holds something else, or settings contradict each other.
    """
    began = time.monotonic()
    config, progress = config or DedupeConfig(), progress or Silent()
    _refuse_contradictions(config, against, signatures)
    ours, theirs = sources_of(source), sources_of(against)
    identity = {
        "command": "dedupe",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": {one.label: one.sha256 for one in ours},
        "against": {one.label: one.sha256 for one in theirs},
        "signatures": signatures is not None,
    }
    digest = digest_of(identity)
    if not claim_folder(out, MARKER, identity):
        _sweep(out)
        store = Store.open(signatures, config, digest) if signatures else None
        quarantine = Quarantine(config.max_bad_rows)
        job = Job(
            paths=source,
            ours=ours,
            theirs=theirs,
            store=store,
            out=out,
            config=config,
            digest=digest,
            workers=workers,
            progress=progress,
            quarantine=quarantine,
            embedder=embedder,
        )
        summary = _work(job)
        shutil.rmtree(job.parts_folder, ignore_errors=True)
        write_json(out / MARKER, identity | summary)
    return result_of(out, _outputs(config), time.monotonic() - began)


def _sweep(out: Path) -> None:
    """Remove the unfinished files of a run that was killed; they may hold protected text."""
    for path in sorted(out.rglob(".*")):
        if path.is_file() and path.name != f".{MARKER}.started":
            path.unlink()


def _work(job: Job) -> dict[str, Any]:
    if job.config.level == "document":
        stored = job.store.before(job.digest) if job.store else []
        return Documents(job, stored).run()
    return run_units(job)


def _outputs(config: DedupeConfig) -> tuple[str, ...]:
    if config.level != "document":
        return ("duplicates.parquet", "quarantine.jsonl") + (() if config.annotate else ("kept",))
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
