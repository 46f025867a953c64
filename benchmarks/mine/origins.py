"""Public-domain text the data sets are made of, in two halves that share no work.

Protected works come from the first half and the corpus around the copies from the second, so that
they share phrases as two authors do, and no passage.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "sample_data"
SHARED = Path(os.environ.get("FORGETKIT_BENCH_SHARED", ROOT.parent / "shared" / "data"))
sys.path.insert(0, str(SAMPLES))


@dataclass(frozen=True)
class Origins:
    """The two halves and where they came from.

    Attributes:
        works: text of each work by its key, first half.
        hosts: other texts, second half.
        names: files that were read, for the results.
    """

    works: dict[str, str]
    hosts: list[str]
    names: tuple[str, ...]


def shared_data() -> Path | None:
    """Return the folder of labelled real data beside the repository, where there is one."""
    return SHARED if SHARED.is_dir() else None


def read_gzip(path: Path) -> list[dict[str, object]]:
    """Read a gzip JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_origins() -> Origins:
    """Read sample_data/sources, and the documents without reuse of the shared data."""
    from sample_corpus.sources import load_articles, load_questions, load_works

    texts = {key: work.text for key, work in load_works().items()}
    protected = {key: text for at, (key, text) in enumerate(sorted(texts.items())) if at % 3 != 2}
    hosts = [text for key, text in sorted(texts.items()) if key not in protected]
    hosts += [article.text for article in load_articles()]
    hosts += [f"{question.prompt}\n\n{question.answer}" for question in load_questions()]
    names = ["sample_data/sources (works, genesis, encyclopaedia, questions)"]
    folder = shared_data()
    if folder is not None:
        rows = read_gzip(folder / "copyright" / "text_reuse_docs.jsonl.gz")
        hosts += [str(row["text"]) for row in rows if not row["label"]]
        names.append("shared/data/copyright/text_reuse_docs (documents without reuse)")
    return Origins(protected, hosts, tuple(names))
