"""Make forget.jsonl and unseen.jsonl out of TruthfulQA (Lin et al. 2022, Apache-2.0).

    python sample_data/facts/make_facts.py truthfulqa.jsonl.gz

The file has question, best_answer, correct_answers, incorrect_answers, category and id a row. The
order is that of the SHA-256 of the id; of the wrong answers the first is kept.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEFT_OUT = ("Indexical Error", "Confusion: People", "Stereotypes", "Subjective", "Distraction")
SIZES = {"forget": 60, "unseen": 50}


def main() -> None:
    with gzip.open(sys.argv[1], "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    rows = [row for row in rows if not row["category"].startswith(LEFT_OUT)]
    rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest())
    taken = 0
    for name, size in SIZES.items():
        lines = [json.dumps(shown(row), ensure_ascii=False) for row in rows[taken : taken + size]]
        (HERE / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        taken += size


def shown(row: dict[str, object]) -> dict[str, object]:
    wrong = row["incorrect_answers"]
    assert isinstance(wrong, list)
    kept = {name: row[name] for name in ("id", "question", "best_answer", "correct_answers")}
    return kept | {"incorrect_answers": wrong[:1], "source": "TruthfulQA", "license": "Apache-2.0"}


if __name__ == "__main__":
    main()
