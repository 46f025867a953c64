"""Run the line and paragraph levels: find what repeats, rewrite the files that hold it."""

from __future__ import annotations

from typing import Any

from forgetkit.corpus.accept import wanted_columns
from forgetkit.dedupe.cutting import Cuts, unit_file
from forgetkit.dedupe.job import Job
from forgetkit.dedupe.rewriting import Rewriter
from forgetkit.dedupe.tables import REASONS


def run_units(job: Job) -> dict[str, Any]:
    """Cut repeated lines or paragraphs; return the summary.

    A document of which nothing is left counts as a duplicate.
    """
    config, signer = job.config, job.signer
    parts = job.read(lambda source, books: unit_file(source, books, signer, config))
    labels = [source.label for source in job.sources]
    cuts = Cuts.load(parts, labels, len(job.theirs), alone=config.against_only)
    cuts.write(job.out / "duplicates.parquet", config.level, REASONS[config.compare])
    lost: dict[str, int] = {}
    if not config.annotate:
        job.progress.stage("writing what stays", len(job.ours))
        bad = job.bad_rows()
        for part, source in enumerate(job.ours, len(job.theirs)):
            rewriter = Rewriter(
                cuts.of_part(part),
                config.level,
                frozenset(bad.get(source.label, ())),
                wanted_columns(config.columns)["text"],
            )
            lost[source.label] = rewriter.write(source.label, source.path, job.out / "kept")
            job.progress.advance()
    return job.summary(lost, {f"{config.level}s": len(cuts.goes), "cut": int(cuts.goes.sum())})
