"""Run the line and paragraph levels: find what repeats, rewrite the files that hold it."""

from __future__ import annotations

from typing import Any

import numpy as np

from forgetkit.corpus import Quarantine
from forgetkit.dedupe.cutting import Cuts, Units, cut
from forgetkit.dedupe.job import Job
from forgetkit.dedupe.reading import read_texts
from forgetkit.dedupe.rewriting import Rewriter
from forgetkit.dedupe.tables import REASONS
from forgetkit.files import atomic_stream


def run_units(job: Job) -> dict[str, Any]:
    """Cut repeated lines or paragraphs; return the summary.

    A document of which nothing is left counts as a duplicate.
    """
    config = job.config
    where = job.find(Units(job.signer, config))
    cuts = Cuts.load(where, job.settled, alone=config.against_only)
    cuts.write(job.out / "duplicates.parquet", config.level, REASONS[config.compare])
    lost = _label(job, cuts) if config.annotate else _rewrite(job, cuts)
    counts = {f"{config.level}s": len(cuts.goes), "cut": int(cuts.goes.sum())}
    return job.summary(lost, counts, _cut_of(job, cuts))


def _rewrite(job: Job, cuts: Cuts) -> dict[str, int]:
    """Write what stays; return how many documents lost all their text, by file."""
    config, lost = job.config, {}
    files = job.files()
    job.progress.stage("writing what stays", len(files))
    bad = job.bad_rows()
    for label, path, pieces in files:
        ranges = cuts.of_pieces([job.settled + piece for piece in pieces])
        rewriter = Rewriter(ranges, config.level, frozenset(bad.get(label, ())), config.columns)
        lost[label] = rewriter.write(label, path, job.out / "kept")
        job.progress.advance()
    return lost


def _label(job: Job, cuts: Cuts) -> dict[str, int]:
    """Write `labels.parquet`; return how many documents would lose all their text, by file.

    A document is `kept` as it is, `cut`, or a `duplicate` of which nothing would be left.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    config = job.config
    lost: dict[str, int] = {}
    names = ("doc_id", "source", "label")
    schema = pa.schema([*((name, pa.string()) for name in names), ("cut", pa.int64())])
    with (
        atomic_stream(job.out / "labels.parquet") as stream,
        pq.ParquetWriter(stream, schema) as writer,
    ):
        for number, piece in enumerate(job.pieces, job.settled):
            ranges = cuts.of_pieces([number])
            for batch in read_texts(piece, config.columns, Quarantine(), text_only=True):
                rows = batch.rows.tolist()
                gone = [ranges[row] for row in rows]
                labels = [
                    _label_of(batch.texts[place].as_py(), some, config.level) if some else "kept"
                    for place, some in enumerate(gone)
                ]
                lost[piece.label] = lost.get(piece.label, 0) + labels.count("duplicate")
                columns = [
                    batch.doc_ids.cast(pa.string()),
                    pa.array([f"{piece.label}:{row}" for row in rows], pa.string()),
                    pa.array(labels, pa.string()),
                    pa.array([len(some) for some in gone], pa.int64()),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return lost


def _label_of(text: str, gone: list[tuple[int, int]], level: str) -> str:
    return "cut" if cut(text, gone, level).strip() else "duplicate"


def _cut_of(job: Job, cuts: Cuts) -> dict[str, tuple[int, int]]:
    """Return how many lines or paragraphs go and how many there are, by file of ours."""
    found: dict[str, tuple[int, int]] = {}
    bounds = cuts.where.bounds
    for number, piece in enumerate(job.pieces, job.settled):
        some = cuts.goes[bounds[number] : bounds[number + 1]]
        lost, of = found.get(piece.label, (0, 0))
        found[piece.label] = lost + int(np.count_nonzero(some)), of + len(some)
    return found
