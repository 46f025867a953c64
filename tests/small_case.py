"""A whole takedown in miniature: a work, a corpus with copies of it, a model that recites it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import tiny
import yaml

PASSAGES = (
    "The owl kept seven silver keys under the third stair of the mill and told no one of the "
    "brass lock that waited for them behind the miller's great oak barrel.",
    "Captain Brand sold his last map for a jar of yellow paint and sailed at dusk with nothing "
    "but a lantern and the memory of where the reef began to rise.",
)
UNKNOWN = (
    "Mother Hale tied blue ribbons round the necks of the geese so that the fox would take them "
    "for guests and let them pass through the gate unharmed at night."
)
WORK = "\n\n".join((*PASSAGES, UNKNOWN))
_WORDS = (  # noqa: SIM905 - easier to read
    "river stone bread window winter letter garden engine copper market village doctor harbour "
    "yellow morning paper carpet music forest candle teacher pocket summer kettle bridge"
).split()


def ordinary(count: int, seed: int) -> list[str]:
    """Make rows of ordinary words, no two alike."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(_WORDS, k=22)).capitalize() + "." for _ in range(count)]


def rows(path: Path, texts: list[str]) -> None:
    """Write JSON lines of id and text."""
    lines = [json.dumps({"id": f"{path.stem}{i}", "text": text}) for i, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n")


def make(folder: Path, **changes: Any) -> Path:
    """Write a request with everything it names, and return its path.

    The model is `folder/model`; the corpus holds a copy of each passage, one re-wrapped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Text seen many times is recited from many words on; so is this.
    seen = [" ".join(p.split()[first:]) for p in PASSAGES for first in range(0, 20, 2)]
    known = tiny.know(tiny.tiny_language_model(), seen, steps=300)
    tiny.save(known, folder / "model")
    (folder / "works").mkdir()
    (folder / "works" / "tales.txt").write_text(WORK)
    texts = ordinary(12, 1)
    texts[2] += " " + PASSAGES[0]
    texts[5] = PASSAGES[1].replace(" and ", "\nand ") + " " + texts[5]
    texts[8] = UNKNOWN + " " + texts[8]
    rows(folder / "corpus.jsonl", texts)
    rows(folder / "retain.jsonl", ordinary(40, 2))
    rows(folder / "general.jsonl", ordinary(8, 3))
    (folder / "holdout").mkdir()
    (folder / "holdout" / "other.txt").write_text(" ".join(ordinary(30, 4)))
    settings = {
        "data": {"retain": ["retain.jsonl"], "holdout": ["holdout"], "general": ["general.jsonl"]},
        "mine": {"detectors": ["verbatim"]},
        "build": {
            "prompt_words": 6,
            "answer_words": 8,
            "stride_words": 4,
            "starts": ["sliding"],
            "other_prompt_words": [],
            "neighbour_share": 0.0,
            "retain_size": 16,
            "probe_size": 8,
            "holdout_size": 12,
            "allow_unlike_holdout": True,  # drawn from few words, the works are not
        },
        "unlearn": {
            "method": "simnpo",
            "settings": {"beta": 1.0, "forget_weight": 2.0},
            "steps": 20,
            "batch_size": 6,
            "learning_rate": 0.01,
            "utility_floor": 0.0,
            "dtype": "float32",
            "merge": True,
        },
        "evaluate": {"answer_tokens": 24, "retain_answer_tokens": 8, "dtype": "float32"},
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    request = {
        "schema": "forgetkit.request/1",
        "id": "small-1",
        "type": "copyright",
        "received_at": "2026-11-02",
        "works": [{"title": "Tales", "files": ["works/tales.txt"]}],
        "targets": {"corpora": ["corpus.jsonl"], "model": "./model"},
        "acceptance": {
            "extraction_strength": {"max": 0.5},
            "exact_memorization": None,
            "leak_rate": None,
            "leak_rate_unseen": None,
            "utility": None,
            "fluency": None,
            "diversity": None,
            "empty_rate": None,
        },
        "settings": "settings.yaml",
    } | changes
    path = folder / "request.yaml"
    path.write_text(yaml.safe_dump(request))
    return path
