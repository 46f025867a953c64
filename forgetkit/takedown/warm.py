"""Compile the kernels of matching once, so that no later command waits for the compiler.

Numba keeps what it compiled beside the package. What runs here are the commands themselves, on a
corpus of a few lines, so nothing that they need can be forgotten.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from forgetkit.dedupe import dedupe, dedupe_spans
from forgetkit.mine import MineConfig, mine
from forgetkit.progress import Progress, Silent

_WORK = (
    "The lamplighter went down the long street at dusk, and one after another the windows of "
    "the town answered him; at the bridge he stopped, counted his matches, and turned home by "
    "the river, where the barges lay asleep under their tarpaulins and the water told the hours."
)


def warm(progress: Progress | None = None) -> dict[str, float]:
    """Run `mine` and `dedupe` on a few lines of text; return the seconds that each part took.

    The first call compiles for some ten seconds a part; a call with a filled cache takes one.
    """
    progress = progress or Silent()
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="forgetkit-") as scratch:
        folder = Path(scratch)
        corpus, work = _write(folder)
        began = time.monotonic()
        config = MineConfig(detectors=("verbatim", "harm"))
        found = mine([corpus], folder / "mined", works=[work], config=config, progress=progress)
        took["mine"] = time.monotonic() - began
        began = time.monotonic()
        dedupe([corpus], folder / "kept", progress=progress)
        dedupe_spans(found.outputs["spans.parquet"], folder / "grouped", progress=progress)
        took["dedupe"] = time.monotonic() - began
    return took


def _write(folder: Path) -> tuple[Path, Path]:
    """Write a work, and a corpus with copies of it: whole, edited, twice, and none."""
    edited = _WORK.replace("matches", "candles").replace("asleep", "a-sleep")
    texts = [
        _WORK,
        f"Before. {edited} After.",
        _WORK,
        edited,
        "Nothing of it is here. " * 9,
        "ﬁn 東京",
    ]
    rows = (json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts))
    corpus, work = folder / "corpus.jsonl", folder / "work.txt"
    corpus.write_text("".join(rows), encoding="utf-8")
    work.write_text(_WORK, encoding="utf-8")
    return corpus, work
