"""Run the line and paragraph levels: find what repeats, rewrite the files that hold it."""

from __future__ import annotations

from typing import Any

from forgetkit.dedupe.cutting import Cuts, Units
from forgetkit.dedupe.job import Job
from forgetkit.dedupe.rewriting import Rewriter
from forgetkit.dedupe.tables import REASONS


def run_units(job: Job) -> dict[str, Any]:
    """Cut repeated lines or paragraphs; return the summary.

    A document of which nothing is left counts as a duplicate.
    """
    config = job.config
    where = job.find(Units(job.signer, config))
    cuts = Cuts.load(where, job.settled, alone=config.against_only)
    cuts.write(job.out / "duplicates.parquet", config.level, REASONS[config.compare])
    lost: dict[str, int] = {}
    if not config.annotate:
        files = job.files()
        job.progress.stage("writing what stays", len(files))
        bad = job.bad_rows()
        for label, path, pieces in files:
            ranges = cuts.of_pieces([job.settled + piece for piece in pieces])
            rewriter = Rewriter(ranges, config.level, frozenset(bad.get(label, ())), config.columns)
            lost[label] = rewriter.write(label, path, job.out / "kept")
            job.progress.advance()
    return job.summary(lost, {f"{config.level}s": len(cuts.goes), "cut": int(cuts.goes.sum())})
