"""Corpora: documents out of JSONL, Parquet, CSV and text files; bad rows go to quarantine."""

from forgetkit.corpus.batch import DocumentBatch, buffers
from forgetkit.corpus.batches import read_batches
from forgetkit.corpus.document import Document, Work
from forgetkit.corpus.quarantine import Counts, Quarantine
from forgetkit.corpus.read import corpus_files, read_all, read_corpus
from forgetkit.corpus.works import read_works

__all__ = [
    "Counts",
    "Document",
    "DocumentBatch",
    "Quarantine",
    "Work",
    "buffers",
    "corpus_files",
    "read_all",
    "read_batches",
    "read_corpus",
    "read_works",
]
