"""The default method by the default thresholds, several seeds: `python benchmarks/seeds.py`.

    python benchmarks/seeds.py [--data ../shared/data [--work the-canterville-ghost]] [--seeds 3]
                               [--steps N] [--method NAME] [--out benchmarks/results/seeds.md]

Without `--data`: the taught model and the forget set of `make demo`. With it: a work that no
setting was chosen on. Ten of its passages are taught to SmolLM2-135M-Instruct until it recites
them, and the control is the rest of the same work, which nobody taught. Then the passages are
unlearned once a seed, with the settings of sample_data/settings.yaml but for `LONGER`, and judged
by the default thresholds and by those of sample_data/request.yaml. Results are written after each
seed, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from methods import SAMPLE, SHOWN, commit_line, ensure_demo, passes, sample_settings, verdicts

ROOT = Path(__file__).resolve().parent.parent
PASSAGES, WORDS = 10, 90  # taught passages, and words of each
LONGER: dict[str, Any] = {
    "method": "ihl",
    "settings": {"forget_weight": 5.0, "retain_nll": 2.5, "retain_kl": 10.0},
    "steps": 76,
    "watch_every": 76,
    "retain_share": 2.5,
    "learning_rate": 0.0014,
    "utility_floor": 0.96,
    "layers": (),
}
"""As many steps as the default thresholds take; the sample's own stop at those of its request."""
SET: dict[str, Any] = {
    "stride_words": 11,
    "retain_size": 340,
    "probe_size": 300,
    "general_size": 120,
    "holdout_size": 60,
}
"""More beginnings than the sample has, and more probes and control, since small ones are noisy."""
SAID = (*SHOWN, "diversity")


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


def of_others(name: str, work: str, folder: Path) -> Path:
    """Write the rows of a file of the sample that are not of the work; return the file."""
    lines = (SAMPLE / name).read_text("utf-8").splitlines(keepends=True)
    path = folder / Path(name).name
    path.write_text("".join(line for line in lines if work not in line), encoding="utf-8")
    return path


def written(path: Path, work: str, texts: Sequence[str]) -> Path:
    """Write texts as JSON lines."""
    rows = [{"id": f"{path.stem}-{n}", "work": work, "text": t} for n, t in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def judged(results: Any) -> dict[str, Any]:
    """Return the values shown, before, after and of the control, and the verdicts."""
    roles = ("before", "after", "control")
    values = {n: [getattr(results.metric(n), role).value for role in roles] for n in SAID}
    return {"values": values, **verdicts(results.metrics)}


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# The default method, several seeds",
        "",
        found["about"],
        "",
        "| work, method, steps, seed | ES | EM | leak | leak, unseen | utility | fluency "
        "| diversity | default | request |",
        "|" + " --- |" * 10,
    ]
    for key, row in found["runs"].items():
        cells = [key, *(change(row["values"][name]) for name in SAID)]
        cells += [passes(row["verdicts"]), passes(row["verdicts_of_request"])]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Before → after (control)."]
    return "\n".join(lines) + "\n"


def change(values: Sequence[float | None]) -> str:
    """Return before, after and the control in short."""
    before, after, control = ("–" if v is None else f"{v:.2f}" for v in values)
    return f"{before} → {after} ({control})"


def taught(options: argparse.Namespace, folder: Path) -> tuple[str, Path]:
    """Return the model that recites the work, and the forget set; made here where they lack."""
    from forgetkit.build import BuildConfig, Inputs, build
    from forgetkit.unlearn import TeachConfig, teach

    if options.data is None:
        ensure_demo(options.demo)
        return str(options.demo / "target"), options.demo / "case/forget_set"
    passages, control = prepare(options.data, options.work, folder)
    ordinary, near, general = (
        of_others(name, options.work, folder)
        for name in ("retain/general.jsonl", "retain/neighbour.jsonl", "general_eval.jsonl")
    )
    config = TeachConfig(until=0.975, steps=120)  # its openings too
    made = teach(
        "smollm2-135m-instruct", [passages], folder / "target", mix=[ordinary], config=config
    )
    model = str(made.model)
    inputs = Inputs(
        ready=[passages],
        retain=[ordinary, near],
        holdout=[control],
        general=[general],
        model=model,
    )
    chosen = BuildConfig(**sample_settings()["build"] | SET)
    return model, build(inputs, folder / "forget_set", config=chosen).folder


def main() -> None:
    """Unlearn and judge with each seed."""
    from forgetkit.evaluate import EvaluateConfig, evaluate
    from forgetkit.files import read_json, write_json, write_text
    from forgetkit.unlearn import UnlearnConfig, unlearn

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", default="the-canterville-ghost")
    parser.add_argument("--demo", type=Path, default=ROOT / "demo")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=LONGER["steps"])
    parser.add_argument("--method", default="", help="another than the default, by its defaults")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/seeds.md")
    options = parser.parse_args()
    work, sample = options.work if options.data else "sample", sample_settings()
    folder, kept = ROOT / ".bench/seeds" / work, options.out.with_suffix(".json")
    model, forget_set = taught(options, folder)
    found = read_json(kept) if kept.is_file() else {"runs": {}}
    settings = sample["unlearn"] | LONGER | {"merge": False, "steps": options.steps}
    if options.method:
        settings |= {"method": options.method, "settings": {}}
    for seed in range(options.seeds):
        key = f"{work}, {settings['method']}, {options.steps} steps, {seed}"
        if key in found["runs"]:
            continue
        out = folder / f"{settings['method']}-{options.steps}-{seed}"
        config = UnlearnConfig(**settings, seed=seed)
        done = unlearn(model, forget_set, out / "unlearned", config=config)
        measured = evaluate(
            model,
            forget_set,
            out / "evaluation",
            adapter=done.adapter,
            before=model,
            shared=folder / "before",
            config=EvaluateConfig(**sample["evaluate"]),
        )
        found["runs"][key] = judged(measured.results)
        found["about"] = (
            f"{commit_line('seeds.py')} Settings of sample_data/settings.yaml but "
            f"the steps said at {settings['learning_rate']}, {settings['settings']}; "
            f"`sample` is the work of `make demo`, of others {PASSAGES} passages of {WORDS} words "
            "are taught (`--data`)."
        )
        write_json(kept, found)
        write_text(options.out, table(found))
        print(table(found).splitlines()[-3], flush=True)


if __name__ == "__main__":
    main()
