"""Does retain from the forget set's neighbourhood protect it better than retain at random?

    python benchmarks/build_neighbours.py --case demo/case --target demo/target --work .bench/build

The same unlearning run (sample_data/settings.yaml, but --steps steps, the last of which is kept) on
the sample request with two retain splits of the same size from the same rows: half of it nearest
to forget (the default, neighbour_share 0.5), or all of it drawn at random. Passages of the same
author and of like fiction, in no split, and general ones are read before and after. The seed is
that of the run. A run that is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data"
ARMS = {"neighbour": 0.5, "random": 0.0}
SEEDS = (0, 1, 2)
READ = {"neighbours": 50, "general": 20}
"""Passages read before and after each run."""


def lines(name: str) -> list[str]:
    """Return the lines of a sample file."""
    return (SAMPLE / name).read_text("utf-8").splitlines()


def passages(name: str, rows: Sequence[str]) -> list[Any]:
    """Cut a window of the sample's lengths, 16 and 32 words, from each row that is long enough."""
    from forgetkit.forget_set import Example

    words = [json.loads(row)["text"].split() for row in rows]
    return [
        Example("text", " ".join(some[:16]), " " + " ".join(some[16:48]))
        for some in words
        if len(some) >= 24
    ][: READ[name]]


def build_set(arm: str, case: Path, target: str, work: Path) -> Path:
    """Build the sample's forget set with one kind of retain; the even neighbours are its pool."""
    from forgetkit.build import BuildConfig, Inputs, build

    pool = work / "neighbours.jsonl"
    pool.write_text("".join(f"{line}\n" for line in lines("retain/neighbour.jsonl")[::2]), "utf-8")
    inputs = Inputs(
        spans=case / "deduped" / "spans.parquet",
        decisions=case / "decisions.sqlite",
        works=[SAMPLE / "works"],
        retain=[pool, SAMPLE / "retain" / "general.jsonl"],
        holdout=[SAMPLE / "holdout"],
        general=[SAMPLE / "general_eval.jsonl"],
        model=target,
    )
    config = BuildConfig(
        neighbour_share=ARMS[arm],
        retain_size=200,
        probe_size=0,
        starts=("sliding",),
        compare_meaning=False,
    )
    return build(inputs, work / f"set-{arm}", config=config).folder


def unlearned(arm: str, seed: int, steps: int, case: Path, target: str, work: Path) -> Path:
    """Unlearn with the sample's settings and return the adapter."""
    import yaml

    from forgetkit.unlearn import UnlearnConfig, unlearn

    given = yaml.safe_load((SAMPLE / "settings.yaml").read_text("utf-8"))["unlearn"]
    here = {"merge": False, "watch_every": 0, "steps": steps, "seed": seed}
    config = UnlearnConfig(**given | here)
    forget_set = build_set(arm, case, target, work)
    return unlearn(target, forget_set, work / f"run-{arm}-{seed}", config=config).adapter


def read(model: Any, rows: Sequence[Any]) -> tuple[float, float]:
    """Return mean nats a token and the share of tokens that the model would say itself."""
    from forgetkit.lm.score import exact_memorization, score

    found = score(model, rows)
    hits = [exact_memorization(s.argmax_hit) or 0.0 for s in found]
    return statistics.fmean(s.nll for s in found), statistics.fmean(hits)


def measure(steps: int, case: Path, target: str, work: Path) -> Iterator[dict[str, Any]]:
    """Yield what the model says before, and after each run."""
    from forgetkit.forget_set import read_forget_set
    from forgetkit.lm.adapter import load_adapter
    from forgetkit.lm.load import load_model

    tables = {
        "neighbours": passages("neighbours", lines("retain/neighbour.jsonl")[1::2]),
        "general": passages("general", lines("general_eval.jsonl")),
        "forget": read_forget_set(case / "forget_set").splits["forget"],
    }
    before = {name: read(load_model(target), rows) for name, rows in tables.items()}
    yield {"arm": "before", "seed": None, "rows": {n: len(r) for n, r in tables.items()}} | before
    for seed in SEEDS:
        for arm in ARMS:
            adapter = unlearned(arm, seed, steps, case, target, work)
            model = load_adapter(load_model(target), adapter)
            yield {"arm": arm, "seed": seed} | {n: read(model, rows) for n, rows in tables.items()}


def table(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the runs as a table; perplexity as a ratio to before."""
    before = found[0]
    lines = [
        "| retain | seed | neighbours: perplexity after / before | general: the same | "
        "neighbours: tokens right after / before | forget: tokens right |",
        "|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        rows = [one for one in found if one["arm"] == arm]
        numbers = [_numbers(one, before) for one in rows]
        for one, values in zip(rows, numbers, strict=True):
            lines.append(f"| {arm} | {one['seed']} | " + " | ".join(f"{v:.3f}" for v in values))
        means = [statistics.fmean(column) for column in zip(*numbers, strict=True)]
        lines.append(f"| **{arm}** | mean | " + " | ".join(f"**{v:.3f}**" for v in means))
    return [line if line.endswith("|") else f"{line} |" for line in lines]


def _numbers(one: dict[str, Any], before: dict[str, Any]) -> list[float]:
    ratios = [math.exp(one[name][0] - before[name][0]) for name in ("neighbours", "general")]
    return [*ratios, one["neighbours"][1] / before["neighbours"][1], one["forget"][1]]


def main() -> None:
    """Measure, keep every row, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, default=ROOT / "demo" / "case")
    parser.add_argument("--target", default=str(ROOT / "demo" / "target"))
    parser.add_argument("--work", type=Path, default=ROOT / ".bench" / "build")
    parser.add_argument("--steps", type=int, default=6)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    found = []
    with (asked.work / "neighbours.rows.jsonl").open("w", encoding="utf-8") as kept:
        for one in measure(asked.steps, asked.case, asked.target, asked.work):
            found.append(one)
            kept.write(json.dumps(one) + "\n")
            kept.flush()
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
