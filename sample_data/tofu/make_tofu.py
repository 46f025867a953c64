"""Make the part of TOFU (Maini et al. 2024, MIT) that `recipes/tofu.yaml` runs at size small.

    python sample_data/tofu/make_tofu.py FOLDER

FOLDER holds full, forget10_perturbed, retain_perturbed, real_authors and world_facts as .jsonl.gz:
a download of locuslab/TOFU. Two authors are to forget, two are the control that no model is taught,
the rest is kept: one author is measured, three are trained on. Of five wrong answers three are
left.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OF_AUTHOR = 20
SIZES = {"real_authors": 20, "world_facts": 20}


def read(name: str) -> list[dict[str, Any]]:
    with gzip.open(Path(sys.argv[1]) / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def write(name: str, rows: list[dict[str, Any]]) -> None:
    kept = [{k: v[:3] if k == "perturbed_answer" else v for k, v in row.items()} for row in rows]
    lines = [json.dumps(row, ensure_ascii=False) for row in kept]
    (HERE / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    forget, retain = read("forget10_perturbed"), read("retain_perturbed")
    write("forget", forget[: 2 * OF_AUTHOR])
    write("unseen", forget[2 * OF_AUTHOR : 4 * OF_AUTHOR])
    write("retain_perturbed", retain[:OF_AUTHOR])
    asked = {row["question"] for row in retain[:OF_AUTHOR]}
    full = [row for row in read("full") if not row["forget10"]]
    measured = {row["author"] for row in full if row["question"] in asked}
    authors = sorted({row["author"] for row in full} - measured)[:3]
    kept = [row for row in full if row["author"] in authors]
    write("retain", [{k: row[k] for k in ("question", "answer")} for row in kept])
    for name, size in SIZES.items():
        write(name, read(name)[:size])


if __name__ == "__main__":
    main()
