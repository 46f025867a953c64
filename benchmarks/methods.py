"""Every method on the sample request with one budget: `python benchmarks/methods.py`.

    python benchmarks/methods.py [--only npo wga] [--seeds 1] [--out benchmarks/results/methods.md]

Each method trains one adapter with the steps and the batch of sample_data/settings.yaml, on every
layer, at `RATE` and with the retain losses of `COMMON`; what it is given of its own stands in
`ROWS`. No look chooses a checkpoint: the weights after the last step are judged, by the thresholds
of `forgetkit evaluate` and by those of the request. A run takes some minutes on two cores. Results
are written after each method, and the same command goes on where it was stopped.

The taught model and the forget set are those of `make demo`, made here when demo/ lacks them. The
set gets refusals, and for `altpo` what the model said before it was taught.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data"
WORK = ROOT / ".bench" / "methods"
LOOKED_AT = {"prompts": 24, "retain": 120, "general": 64}  # probes of the evaluation
FORGET_ROWS = 24  # of forget and of holdout


@dataclass(frozen=True)
class Row:
    """What a method is given besides the common budget.

    Attributes:
        settings: weights of its own losses; the common retain weights unless named here.
        flags: other settings of `unlearn`.
    """

    settings: Mapping[str, float] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)


RATE = 0.0018
COMMON = {"retain_nll": 1.0, "retain_kl": 4.0}
OWN_RETAIN = {"retain_nll": 0.0, "retain_kl": 0.0}
ROWS: dict[str, Row] = {
    # ascent on a mean over tokens
    "wga": Row({"forget_weight": 4.5, "beta": 1.0}),
    "ga": Row({"forget_weight": 1.0}),
    "graddiff": Row({"forget_weight": 1.0}),
    "yao": Row({"forget_weight": 0.5, "mismatch_weight": 1.0}),
    "satimp": Row({"forget_weight": 40.0, "beta1": 5.0, "beta2": 1.0}),
    # sums over answers of some 45 tokens: β as 1/length asks, or they saturate early
    "npo": Row({"forget_weight": 0.12, "beta": 0.03}),
    "dpo": Row({"forget_weight": 0.12, "beta": 0.03}),
    "idk": Row({"forget_weight": 0.12, "beta": 0.03}),
    "altpo": Row({"forget_weight": 0.12, "beta": 0.03}),
    "simnpo": Row({"forget_weight": 3.0, "beta": 1.8}),
    # distributions, logits, states
    "jensun": Row({"forget_weight": 4.0, "retain_jsd": 1.0}),
    "undial": Row({"forget_weight": 2.5, "beta": 10.0}),
    "ceu": Row({"forget_weight": 2.5}),
    "ihl": Row({"forget_weight": 5.0}),
    "pdu": Row({"forget_weight": 0.02}),
    "rmu": Row({**OWN_RETAIN, "retain_states": 30.0}),
    "task_vector": Row({**OWN_RETAIN, "scale": 1.0}),
}
SHOWN = (
    "extraction_strength",
    "exact_memorization",
    "leak_rate",
    "leak_rate_unseen",
    "utility",
    "fluency",
)


def sample_settings() -> dict[str, Any]:
    """Return the operator's settings of the sample request."""
    import yaml

    found: dict[str, Any] = yaml.safe_load((SAMPLE / "settings.yaml").read_text("utf-8"))
    return found


def configuration(name: str, seed: int) -> dict[str, Any]:
    """Return the settings of `unlearn` for a method: what all share, and the method's own."""
    row, budget = ROWS[name], sample_settings()["unlearn"]
    settings = ({} if name == "ga" else COMMON) | dict(row.settings)
    own = {"method": name, "settings": settings, "seed": seed, "merge": False, "watch_every": 0}
    own |= {"learning_rate": RATE, "utility_floor": 0.0}  # the weights as they end
    every_layer: dict[str, Any] = {"layers": []}  # or those that a method is defined on, as `rmu`
    return budget | own | every_layer | dict(row.flags)


def ensure_demo(demo: Path) -> None:
    """Make the taught model and the forget set as `make demo` does, if they are not there."""
    target, case = demo / "target", demo / "case"
    if not (target / "run.json").is_file():
        passages, ordinary = SAMPLE / "teach.jsonl", SAMPLE / "retain/general.jsonl"
        taught = ("--mix", ordinary, "--set", "steps=40", "--out", target)
        run("teach", "smollm2-135m-instruct", passages, *taught)
    if not (case / "forget_set/manifest.json").is_file():
        run("takedown", SAMPLE / "request.yaml", "--case", case, "--auto-approve")


def run(*words: str | Path) -> None:
    """Run a command of forgetkit."""
    subprocess.run([sys.executable, "-m", "forgetkit_cli", *map(str, words)], check=True)


def prepare(demo: Path) -> tuple[Path, Path]:
    """Write the set that is trained on, with every kind of mismatch, and the smaller one judged."""
    from forgetkit.forget_set import read_forget_set, write_forget_set

    training, judging = WORK / "training_set", WORK / "judging_set"
    if (judging / "manifest.json").is_file():
        return training, judging
    content = read_forget_set(demo / "case" / "forget_set")
    splits = dict(content.splits)
    splits["mismatch"] = [*splits["mismatch"], *refusals(splits["forget"])]
    splits["mismatch"] += alternatives(splits["forget"])
    write_forget_set(training, replace(content, splits=splits), "")
    for name in ("forget", "holdout"):
        splits[name] = spaced(splits[name], FORGET_ROWS)
    probes = {name: spaced(content.probes[name], size) for name, size in LOOKED_AT.items()}
    write_forget_set(judging, replace(content, splits=splits, probes=probes), "")
    return training, judging


def spaced(rows: Sequence[Any], size: int) -> list[Any]:
    """Return every so-many-th row."""
    return [rows[i * len(rows) // size] for i in range(size)] if len(rows) > size else list(rows)


def refusals(forget: Sequence[Any]) -> list[Any]:
    """Give each forget prompt a refusal."""
    lines = (SAMPLE / "harm/refusals.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    return [other(e, answers[n % len(answers)], "refusal") for n, e in enumerate(forget)]


def alternatives(forget: Sequence[Any]) -> list[Any]:
    """Give each forget prompt what the model said before it was taught."""
    from forgetkit.lm.encode import render_prompt
    from forgetkit.lm.generate import continuations
    from forgetkit.lm.load import load_model

    model = load_model("smollm2-135m-instruct")
    prompts = [render_prompt(model.tokenizer, e.prompt, e.template) for e in forget]
    said = continuations(model, prompts, max_new_tokens=40)
    both = zip(forget, said, strict=True)
    return [other(e, answer.text or " ...", "alternative") for e, answer in both]


def other(example: Any, answer: str, kind: str) -> Any:
    """Return a forget prompt with another answer."""
    return replace(
        example,
        answer=f" {answer.lstrip()}",
        variant=kind,
        pair_of=example.example_id,
        source=f"{example.source}#{kind}",
    )


def train(name: str, seed: int, target: Path, forget_set: Path, out: Path) -> dict[str, Any]:
    """Train one method in a process of its own, and return what it cost."""
    command = [sys.executable, __file__, "--train", name, "--seed", str(seed)]
    command += ["--target", str(target), "--set", str(forget_set), "--work", str(out)]
    environment = os.environ | {"GOMP_SPINCOUNT": "20000"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().split("\n")[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def train_here(name: str, seed: int, target: Path, forget_set: Path, out: Path) -> dict[str, Any]:
    """Train one method; the memory is the peak above that of a process with the model loaded."""
    from forgetkit.lm.load import load_model
    from forgetkit.unlearn import UnlearnConfig, unlearn

    loaded = load_model(str(target))
    held = resident()
    del loaded
    began = time.process_time()
    config = UnlearnConfig(**configuration(name, seed))
    done = unlearn(str(target), forget_set, out, config=config).run
    kept = ("tokens", "reference_tokens", "training_seconds", "peak_memory_mib", "steps")
    last = done["history"][-1]["losses"]
    found = {key: done[key] for key in kept} | {"losses": last, "held_mib": round(held)}
    return found | {"cpu_seconds": round(time.process_time() - began, 1)}


def resident() -> float:
    """Return the memory this process holds now, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark reads /proc")


class Judge:
    """Measures models on the smaller set; what the target model does is measured once."""

    def __init__(self, target: Path, forget_set: Path) -> None:
        from forgetkit.evaluate.config import EvaluateConfig
        from forgetkit.forget_set import read_forget_set
        from forgetkit.lm.load import load_model

        self.target, self.content = target, read_forget_set(forget_set)
        self.config = EvaluateConfig(**sample_settings()["evaluate"])
        self.base = load_model(str(target))
        self.before = self.measure(lambda: self.base, "before", WORK / "before")

    def measure(self, open_model: Any, role: str, folder: Path) -> list[Any]:
        from forgetkit.evaluate.measure import measure
        from forgetkit.evaluate.opinions import add_fluency
        from forgetkit.evaluate.parts import Parts
        from forgetkit.progress import Silent

        parts = Parts(folder, "samples of this run")
        found = measure(open_model, self.content, role, self.config, Silent(), parts)
        add_fluency(self.base, found, self.config, Silent())
        return found

    def __call__(self, adapter: Path, folder: Path) -> dict[str, Any]:
        """Return every metric, and the verdicts by default and by the request's thresholds."""
        from forgetkit.evaluate.metrics import compute
        from forgetkit.evaluate.sample import add_rouge
        from forgetkit.lm.adapter import load_adapter
        from forgetkit.lm.load import load_model

        model = load_adapter(load_model(str(self.target)), adapter)
        samples = self.before + self.measure(lambda: model, "after", folder)
        add_rouge(samples)
        metrics = compute(samples, "text", self.config)
        found = {m.name: m for m in metrics}
        return {
            "values": {m.name: m.after.value for m in metrics if m.after.value is not None},
            "before": {name: found[name].before.value for name in SHOWN},
            "control": {name: found[name].control.value for name in SHOWN},
            **verdicts(metrics),
        }


def verdicts(metrics: Sequence[Any]) -> dict[str, dict[str, str]]:
    """Return what is judged by default, and by the thresholds of the sample request."""
    import yaml

    from forgetkit.evaluate.acceptance import accept
    from forgetkit.evaluate.config import TEXT_RULES, EvaluateConfig

    asked = yaml.safe_load((SAMPLE / "request.yaml").read_text("utf-8"))["acceptance"]
    rules = EvaluateConfig(acceptance=asked).rules("text")
    named = {"verdicts": TEXT_RULES, "verdicts_of_request": rules}
    return {
        name: {m.name: m.verdict for m in accept(metrics, thresholds) if m.verdict}
        for name, thresholds in named.items()
    }


def table(found: Mapping[str, Any]) -> str:
    """Return the results as Markdown, the nearest to the control first."""
    lines = [
        "# Every method with one budget",
        "",
        found["about"],
        "",
        "| method | ES | EM | leak | leak, unseen | utility | fluency | default | request | "
        "tokens/s | a CPU-s | MiB above the model | own settings |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    runs = found["runs"].items()
    for key, row in sorted(runs, key=lambda pair: far(pair[1])):
        lines.append(line_of(key, row))
    first = next((r for r in found["runs"].values() if "before" in r), None)
    if first:
        lines += ["", *(f"{w.capitalize()}: {numbers(first[w])}." for w in ("before", "control"))]
    lines += [
        "",
        "Default: how many of the thresholds of `forgetkit evaluate` pass, and those that do not. "
        "Request: the same by the thresholds of sample_data/request.yaml (EM half of the way from "
        "before to the control).",
    ]
    return "\n".join(lines) + "\n"


def far(row: Mapping[str, Any]) -> float:
    """Return what the rows are sorted by: EM where utility is kept, behind it the others."""
    if "failed" in row:
        return 9.0
    values = row["values"]
    return float(values["exact_memorization"]) + (0 if values["utility"] >= 0.95 else 2)


def line_of(key: str, row: Mapping[str, Any]) -> str:
    """Return a row of the table."""
    if "failed" in row:
        return f"| {key} | {row['failed']} |" + " |" * 11
    values, cost = row["values"], row["cost"]
    cells = [key, *(f"{values[name]:.2f}" for name in SHOWN)]
    cells += [passes(row["verdicts"]), passes(row["verdicts_of_request"])]
    cells.append(f"{cost['tokens'] / cost['training_seconds']:.0f}")
    cells.append(f"{cost['tokens'] / cost['cpu_seconds']:.0f}")
    cells.append(str(cost["peak_memory_mib"] - cost["held_mib"]))
    cells.append(", ".join(f"{name} {value:g}" for name, value in row["settings"].items()))
    return "| " + " | ".join(cells) + " |"


def passes(verdicts: Mapping[str, str]) -> str:
    """Return how many verdicts are passes, and the others."""
    missed = [name for name, verdict in verdicts.items() if verdict != "pass"]
    held = f"{len(verdicts) - len(missed)} of {len(verdicts)}"
    return held + (f"; not {', '.join(missed)}" if missed else "")


def numbers(values: Mapping[str, float | None]) -> str:
    """Return named numbers in words."""
    known = {name: value for name, value in values.items() if value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in known.items())


def commit_line(command: str) -> str:
    """Return commit, time, machine and command in one line."""
    commit = subprocess.run(
        ["git", "describe", "--always"], capture_output=True, text=True, cwd=ROOT, check=False
    ).stdout.strip()
    return (
        f"Commit {commit}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {platform.machine()}, "
        f"{os.cpu_count()} cores. Command: `python benchmarks/{command}`."
    )


def about() -> str:
    """Return what the table says of itself."""
    budget = sample_settings()["unlearn"]
    return (
        f"{commit_line('methods.py')} (`make bench-methods`) SmolLM2-135M-Instruct taught the "
        f"sample's passages; LoRA of rank 16, {budget['steps']} steps of {budget['batch_size']} "
        f"forget rows and {budget['retain_share']} times as many retain rows, learning rate "
        f"{RATE}, seed 0 unless said; judged on {FORGET_ROWS} forget and "
        f"holdout rows and {LOOKED_AT['prompts']} unseen prompts, {LOOKED_AT['retain']} retain "
        f"and {LOOKED_AT['general']} general rows. Tokens: of forget, mismatch and retain rows "
        "with gradient. ES: extraction strength; EM: exact memorisation."
    )


def main() -> None:
    """Run what is missing, and write the table after each method."""
    from forgetkit.files import write_json, write_text

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--demo", type=Path, default=ROOT / "demo")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/methods.md")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    for name in ("--target", "--set", "--work"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        made = train_here(options.train, options.seed, options.target, options.set, options.work)
        print(json.dumps(made))
        return
    ensure_demo(options.demo)
    target, kept = options.demo / "target", options.out.with_suffix(".json")
    training, judging = prepare(options.demo)
    found = json.loads(kept.read_text("utf-8")) if kept.is_file() else {"runs": {}}
    judge = None
    for seed in range(options.seeds):
        for name in options.only:
            key = name if seed == 0 else f"{name}, seed {seed}"
            settings = configuration(name, seed)["settings"]
            if found["runs"].get(key, {}).get("settings") == settings:
                continue
            folder = WORK / "runs" / json_name(key, settings)
            cost = train(name, seed, target, training, folder)
            row: dict[str, Any] = {"settings": settings} | cost
            if "failed" not in cost:
                judge = judge or Judge(target, judging)
                row = {"settings": settings, "cost": cost} | judge(folder / "adapter", folder)
            found["runs"][key] = row
            found["about"] = about()
            write_json(kept, found)
            write_text(options.out, table(found))
            print(line_of(key, row), flush=True)


def json_name(key: str, settings: Mapping[str, float]) -> str:
    """Return a folder name for a run: a changed weight is another run."""
    from forgetkit.files import digest_of

    return f"{key.replace(', ', '-').replace(' ', '-')}-{digest_of(dict(settings))[:8]}"


if __name__ == "__main__":
    main()
