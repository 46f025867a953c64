"""A work that no setting was chosen on: `python benchmarks/held_back.py --data ../shared/data`.

    python benchmarks/held_back.py --data DIR [--work the-canterville-ghost] [--seeds 3]
                                   [--method NAME] [--out benchmarks/results/held_back.md]

Ten passages of the work are taught to SmolLM2-135M-Instruct until it recites them; then they are
unlearned with the settings of sample_data/settings.yaml, as they are, or with another method and
its defaults, once a seed, and judged by the default thresholds and by those of
sample_data/request.yaml. The control is the rest of the same work, which nobody taught. Results
are written after each seed, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from methods import SAMPLE, commit_line, passes, sample_settings

ROOT = Path(__file__).resolve().parent.parent
PASSAGES, WORDS = 10, 90  # taught passages, and words of each
SHOWN = (
    "extraction_strength",
    "exact_memorization",
    "leak_rate",
    "leak_rate_unseen",
    "utility",
    "fluency",
    "diversity",
)


def pieces(data: Path, work: str) -> list[str]:
    """Return the work as runs of whole paragraphs of at least `WORDS` words, cut to that many."""
    with gzip.open(data / "copyright/works.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    paragraphs = [" ".join(row["text"].split()) for row in rows if row["work"] == work]
    if not paragraphs:
        raise SystemExit(f"no such work: {work}")
    found, held = [], ""
    for paragraph in paragraphs:
        held = f"{held} {paragraph}".strip()
        if len(held.split()) >= WORDS:
            found.append(" ".join(held.split()[:WORDS]))
            held = ""
    return found


def prepare(data: Path, work: str, folder: Path) -> tuple[Path, Path]:
    """Write what is taught, evenly spread over the work, and what is not; never neighbours."""
    runs = pieces(data, work)
    places = {n * len(runs) // PASSAGES for n in range(PASSAGES)}
    beside = {place + step for place in places for step in (-1, 1)}
    taught = [run for place, run in enumerate(runs) if place in places]
    control = [run for place, run in enumerate(runs) if place not in places | beside]
    folder.mkdir(parents=True, exist_ok=True)
    return (
        written(folder / "teach.jsonl", work, taught),
        written(folder / "control.jsonl", f"{work}, the rest", control),
    )


def written(path: Path, work: str, texts: Sequence[str]) -> Path:
    """Write texts as JSON lines."""
    rows = [{"id": f"{path.stem}-{n}", "work": work, "text": t} for n, t in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def judged(results: Any) -> dict[str, Any]:
    """Return the values shown, and the verdicts by default and by the request's thresholds."""
    import yaml

    from forgetkit.evaluate.acceptance import accept
    from forgetkit.evaluate.config import TEXT_RULES, EvaluateConfig

    asked = yaml.safe_load((SAMPLE / "request.yaml").read_text("utf-8"))["acceptance"]
    rules = EvaluateConfig(acceptance=asked).rules("text")
    default = accept(results.metrics, TEXT_RULES)
    request = accept(results.metrics, rules)
    return {
        "values": {
            name: [
                getattr(results.metric(name), role).value for role in ("before", "after", "control")
            ]
            for name in SHOWN
        },
        "default": {m.name: m.verdict for m in default if m.verdict},
        "request": {m.name: m.verdict for m in request if m.verdict},
    }


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# A held-back work, several seeds",
        "",
        found["about"],
        "",
        "| method, seed | ES | EM | leak | leak, unseen | utility | fluency | diversity | default "
        "| request |",
        "|" + " --- |" * 10,
    ]
    for key, row in found["runs"].items():
        cells = [key, *(change(row["values"][name]) for name in SHOWN)]
        cells += [passes(row["default"]), passes(row["request"])]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Before → after (control)."]
    return "\n".join(lines) + "\n"


def change(values: Sequence[float | None]) -> str:
    """Return before, after and the control in short."""
    before, after, control = ("–" if v is None else f"{v:.2f}" for v in values)
    return f"{before} → {after} ({control})"


def main() -> None:
    """Teach once, then unlearn and judge with each seed."""
    from forgetkit.build import BuildConfig, Inputs, build
    from forgetkit.evaluate import EvaluateConfig, evaluate
    from forgetkit.files import read_json, write_json, write_text
    from forgetkit.unlearn import UnlearnConfig, teach, unlearn

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", default="the-canterville-ghost")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--method", default="", help="another than the sample's, by its defaults")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/held_back.md")
    options = parser.parse_args()
    folder, sample = ROOT / ".bench/held_back" / options.work, sample_settings()
    taught, control = prepare(options.data, options.work, folder)
    retain = [SAMPLE / "retain/general.jsonl"]
    model = teach("smollm2-135m-instruct", [taught], folder / "target", mix=retain)
    inputs = Inputs(
        ready=[taught],
        retain=retain,
        holdout=[control],
        general=[SAMPLE / "general_eval.jsonl"],
        model=str(model.model),
    )
    forget_set = build(inputs, folder / "forget_set", config=BuildConfig(**sample["build"])).folder
    kept = options.out.with_suffix(".json")
    found = read_json(kept) if kept.is_file() else {"runs": {}}
    settings = sample["unlearn"] | {"merge": False}
    if options.method:
        settings = {"method": options.method, "batch_size": settings["batch_size"]}
    for seed in range(options.seeds):
        key = f"{settings['method']}, {seed}"
        if key in found["runs"]:
            continue
        out = folder / key.replace(", ", "-")
        config = UnlearnConfig(**settings, seed=seed)
        done = unlearn(str(model.model), forget_set, out / "unlearned", config=config)
        measured = evaluate(
            str(model.model),
            forget_set,
            out / "evaluation",
            adapter=done.adapter,
            before=str(model.model),
            shared=folder / "before",
            config=EvaluateConfig(**sample["evaluate"]),
        )
        found["runs"][key] = judged(measured.results)
        found["about"] = (
            f"{commit_line('held_back.py --data ../shared/data')} Work: {options.work}, "
            f"{PASSAGES} passages of {WORDS} words taught "
            f"(extraction strength {model.extraction_strength:.2f}, ordinary text "
            f"{model.ordinary_nats:+.3f} nats); settings of sample_data/settings.yaml, "
            f"{done.run['steps']} steps."
        )
        write_json(kept, found)
        write_text(options.out, table(found))
        print(table(found).splitlines()[-3], flush=True)


if __name__ == "__main__":
    main()
