"""Rebuild the sample data from `sample_data/sources/`: works, corpus, ground truth, retain sets.

    python sample_data/make_corpus.py            # write the shipped files again
    python sample_data/make_corpus.py --check    # exit 1 when a shipped file differs from a rebuild
    python sample_data/make_corpus.py --work genesis --seed 2 --out second

Sources, all in `sample_data/sources/` (`sample_data/LICENSES.md` has the details):

- works.jsonl.gz         fiction published before 1928, public domain in the US
- genesis.jsonl.gz       Genesis in the King James and World English versions, public domain
- encyclopaedia.jsonl.gz WikiText-2 paragraphs, CC BY-SA 3.0
- questions.jsonl.gz     self-instruct (Apache-2.0), GSM8K (MIT), WebQuestions (CC BY 4.0)
- written.json           lead-ins and pages about the works, written for this project, Apache-2.0

The default work also gets `teach.jsonl`, `holdout/`, `retain/` and `general_eval.jsonl`; any other
one gets `works/`, `corpus/` and `ground_truth.jsonl` only, for tests. With `--work genesis` the
work is the King James text and the look-alikes hold passages of the other translation, made of
sentences that share at most 60 % of their words with it, which a reader would not call copies.

Only the standard library is used, and nothing of forgetkit: the truth is independent of the
matcher it measures. The same Python release line gives the same bytes; the compressed bytes of
`.gz` files may differ between zlib builds, so `--check` compares what is inside them.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sample_corpus.hosts import CONTROL, Shelf
from sample_corpus.plan import Corpus, compose, truth_rows
from sample_corpus.prose import run_set
from sample_corpus.retain import EVALUATION_SHARE, neighbour_rows, ordinary_rows, question_rows
from sample_corpus.sources import (
    PUBLIC_DOMAIN,
    Article,
    Question,
    Work,
    load_articles,
    load_questions,
    load_works,
    load_written,
)

DEFAULT_WORK = "the-adventure-of-the-speckled-band"
DEFAULT_SEED = 1
DEFAULT_DOCUMENTS, OTHER_DOCUMENTS = 300, 120
TEXT_FILES = 40  # documents that become .txt files, of those in the public domain


def build(work_key: str, seed: int, documents: int) -> dict[str, str]:
    """Return every file of the sample data: path inside the folder -> content, uncompressed.

    Raises:
        KeyError: the sources have no such work.
    """
    works = load_works()
    work = works[work_key]
    articles = random.Random(f"{seed}/articles").sample(load_articles(), len(load_articles()))
    questions = load_questions()
    files = {f"works/{work.key}.txt": work.text + "\n"}
    used: set[str] = set()
    if work_key == DEFAULT_WORK:
        kept, used = retain_files(works, work, articles, questions, seed)
        files |= kept
    corpus_articles = sorted(articles[round(len(articles) * EVALUATION_SHARE) :], key=article_order)
    rest = [question for question in questions if question.key not in used]
    rng = random.Random(f"{seed}/{work.key}/corpus")
    shelf = Shelf(works, corpus_articles, rest, load_written(), rng)
    corpus = compose(work, works, shelf, documents, seed)
    files |= corpus_files(corpus, work.key, rng)
    if work_key == DEFAULT_WORK:
        files["teach.jsonl"] = json_lines(teach_rows(corpus, work.key))
    return files


def article_order(article: Article) -> int:
    """Return the place of a paragraph in the encyclopaedia."""
    return int(article.key.removeprefix("wt"))


def teach_rows(corpus: Corpus, work: str) -> list[dict[str, str]]:
    """Return the taught passages in the order of the work."""
    return [
        {"id": f"{work}-{number:02d}", "work": work, "text": corpus.passages[at].text}
        for number, at in enumerate(corpus.taught)
    ]


def retain_files(
    works: dict[str, Work],
    work: Work,
    articles: list[Article],
    questions: list[Question],
    seed: int,
) -> tuple[dict[str, str], set[str]]:
    """Return the holdout, retain and evaluation files and the keys of the questions used."""
    rng = random.Random(f"{seed}/retain")
    barred = run_set([work.text, works[CONTROL].text])
    general, evaluation = ordinary_rows(works, work, articles, rng)
    rows, used = question_rows(questions, barred, rng)
    files = {
        f"holdout/{CONTROL}.txt": works[CONTROL].text + "\n",
        "retain/neighbour.jsonl": json_lines(neighbour_rows(works, work, rng)),
        "retain/general.jsonl": json_lines(general),
        "retain/qa.jsonl": json_lines(rows),
        "general_eval.jsonl": json_lines(evaluation),
    }
    return files, used


def corpus_files(corpus: Corpus, work: str, rng: random.Random) -> dict[str, str]:
    """Lay the documents out as two JSON lines files and a folder of text files."""
    keys = rng.sample(list(corpus.documents), len(corpus.documents))
    free = [key for key in keys if corpus.documents[key].licence == PUBLIC_DOMAIN]
    as_text = set(free[: TEXT_FILES * len(keys) // DEFAULT_DOCUMENTS])
    rows = [key for key in keys if key not in as_text]
    half = len(rows) // 2
    parts = {"part-0.jsonl": rows[:half], "part-1.jsonl.gz": rows[half:]}
    files: dict[str, str] = {}
    places: dict[str, str] = {}
    for name, part in parts.items():
        files[f"corpus/{name}"] = json_lines(document_row(corpus, key) for key in part)
        places |= dict.fromkeys(part, name)
    for key in sorted(as_text):
        places[key] = f"texts/{key}.txt"
        files[f"corpus/{places[key]}"] = corpus.documents[key].text + "\n"
    truth = sorted(truth_rows(corpus, places, work), key=lambda row: (row["doc_id"], row["start"]))
    return files | {"ground_truth.jsonl": json_lines(truth)}


def document_row(corpus: Corpus, key: str) -> dict[str, str]:
    """Return the row of a document."""
    document = corpus.documents[key]
    return {
        "id": key,
        "text": document.text,
        "source": document.source,
        "license": document.licence,
    }


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def encoded(name: str, content: str) -> bytes:
    """Return the bytes of a file; `.gz` is compressed without time or name."""
    raw = content.encode()
    if not name.endswith(".gz"):
        return raw
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as packed:
        packed.write(raw)
    return buffer.getvalue()


def write(files: dict[str, str], folder: Path) -> None:
    """Write the files and remove corpus files of an earlier build."""
    for name in stale(files, folder):
        (folder / name).unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".draft")
        draft.write_bytes(encoded(name, content))
        draft.replace(path)


def stale(files: dict[str, str], folder: Path) -> list[str]:
    """Return the corpus files in a folder that the build does not make."""
    found = (path for path in sorted((folder / "corpus").rglob("*")) if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in found]
    return [name for name in names if name not in files]


def differences(files: dict[str, str], folder: Path) -> list[str]:
    """Return one line for each file that is missing, left over or other than a rebuild."""
    found = [f"{name}: not part of the build" for name in stale(files, folder)]
    for name, content in files.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: missing")
            continue
        raw = path.read_bytes()
        if (gzip.decompress(raw) if name.endswith(".gz") else raw) != content.encode():
            found.append(f"{name}: differs from a rebuild")
    return found


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Rebuild the sample data from its sources.")
    parser.add_argument(
        "--work", default=DEFAULT_WORK, help="key of the work (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default: %(default)s")
    parser.add_argument("--documents", type=int, help="default: 300, for another work 120")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--check", action="store_true", help="compare --out with a rebuild")
    return parser.parse_args()


def main() -> int:
    """Build, then write or compare. Returns the exit code."""
    wanted = arguments()
    if wanted.work not in (works := load_works()):
        sys.stderr.write(f"no work {wanted.work!r} in the sources; there are {', '.join(works)}\n")
        return 2
    usual = DEFAULT_DOCUMENTS if wanted.work == DEFAULT_WORK else OTHER_DOCUMENTS
    try:
        files = build(wanted.work, wanted.seed, wanted.documents or usual)
    except (LookupError, ValueError) as problem:
        sys.stderr.write(f"cannot build: {problem}\n")
        return 2
    if wanted.check:
        found = differences(files, wanted.out)
        sys.stdout.write("\n".join(found) + "\n" if found else f"{len(files)} files as rebuilt\n")
        return 1 if found else 0
    write(files, wanted.out)
    sys.stdout.write(f"{len(files)} files written to {wanted.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
