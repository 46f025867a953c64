"""The trainer against the usual way: `python benchmarks/unlearn.py`.

    python benchmarks/unlearn.py --out benchmarks/results/unlearn.md

The usual way, written here: the reference model is a copy of the weights, full logits at every
position, every batch padded to its longest row, and one forward pass each for forget, mismatch and
retain. Same model, adapter, number format, threads and rows for both. Each variant runs in a
process of its own: seconds are of the steps alone, memory is the peak above what the process held
once the model with its adapter was loaded. Losses are compared in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data"
BATCH = 8
USUAL: dict[str, str] = {
    "reference": "copy",
    "head": "full",
    "padding": "longest",
    "forwards": "separate",
}
SAVINGS: dict[str, str] = {
    "reference": "adapter off",
    "head": "answers",
    "padding": "grouped",
    "forwards": "joined",
}
METHODS: dict[str, tuple[str, dict[str, float]]] = {
    "npo + NLL + KL": ("npo", {"retain_nll": 1.0, "retain_kl": 1.0}),
    "yao": ("yao", {"forget_weight": 0.5, "mismatch_weight": 1.0, "retain_kl": 1.0}),
}


def rows() -> tuple[list[Any], list[Any], list[Any]]:
    """Return forget, mismatch and retain examples of real and unlike lengths."""
    from forgetkit.forget_set import Example

    def read(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (SAMPLE / name).read_text("utf-8").splitlines()]

    def split(text: str, words: int) -> Example:
        parts = text.split(" ")
        return Example("text", " ".join(parts[:words]), " " + " ".join(parts[words:]))

    forget = [split(row["text"], 16) for row in read("teach.jsonl")]
    general = [split(row["text"], 16) for row in read("retain/general.jsonl")]
    pairs = [
        Example("pair", row["prompt"], row["answer"], template="chat")
        for row in read("retain/qa.jsonl")
    ]
    mismatch = [Example("text", f.prompt, g.answer) for f, g in zip(forget, general, strict=False)]
    retain = [row for both in zip(general[20:], pairs, strict=False) for row in both]
    return forget, mismatch, retain


def items(tokenizer: Any, steps: int) -> list[dict[str, list[Any]]]:
    """Return `steps` batches of items: a forget example, its mismatch, a retain row."""
    from forgetkit.lm.encode import encode

    forget, mismatch, retain = rows()
    made = []
    for number in range(steps * BATCH):
        index = number % len(forget)
        chosen = {"forget": forget[index], "mismatch": mismatch[index], "retain": retain[number]}
        made.append({k: [encode(tokenizer, e, max_tokens=512)] for k, e in chosen.items()})
    return made


class UsualStep:
    """A step as it is usually written, with single savings switched on for the ablation."""

    def __init__(self, model: Any, copy: Any, items: Sequence[Any], how: dict[str, str]) -> None:
        self.model, self.copy, self.items, self.how = model, copy, items, how
        self.kept: dict[str, Any] = {}
        self.memory: dict[str, float] = {}

    def holds(self, split: str) -> bool:
        return any(split in item for item in self.items)

    def groups(self, split: str) -> Iterator[tuple[list[int], Any]]:
        """Yield the rows of a split and their batch, right-padded."""
        from forgetkit.lm.encode import collate, like_lengths

        encoded = [e for item in self.items for e in item[split]]
        lengths = [len(e) for e in encoded]
        whole = [list(range(len(encoded)))]
        for rows in like_lengths(lengths) if self.how["padding"] == "grouped" else whole:
            yield rows, collate([encoded[i] for i in rows], 2)

    def logits(self, model: Any, batch: Any) -> Any:
        """Return logits that predict answer tokens, (N, V) in float32."""
        if self.how["head"] == "answers":
            from forgetkit.lm.encode import answer_hidden, head_weight

            return (answer_hidden(model, batch) @ head_weight(model).T).float()
        given = {name: batch[name] for name in ("input_ids", "attention_mask")}
        return model(**given).logits.float()[batch["row"], batch["position"]]

    def run(self, model: Any, split: str) -> list[tuple[list[int], Any, Any]]:
        return [(rows, batch, self.logits(model, batch)) for rows, batch in self.groups(split)]

    def ours(self, split: str) -> Any:
        if split not in self.kept:
            self.kept[split] = self.run(self.model, split)
        return self.kept[split]

    def theirs(self, split: str) -> Any:
        import torch

        if self.copy is not None:
            with torch.no_grad():
                return self.run(self.copy, split)
        from forgetkit.lm.adapter import adapter_off

        with adapter_off(self.model):
            return self.run(self.model, split)

    def sums(self, split: str, value: Callable[[Any, Any, int], Any], runs: Any) -> Any:
        """Return a value summed over each answer's tokens, and the lengths, in the rows' order."""
        import torch

        totals, lengths, order = [], [], []
        for number, (rows, batch, logits) in enumerate(runs):
            total = torch.zeros(len(rows))
            totals.append(total.index_add(0, batch["row"], value(logits, batch, number)))
            lengths.append(batch["length"])
            order += rows
        back = torch.tensor(order).argsort()
        return torch.cat(totals)[back], torch.cat(lengths)[back]

    def nll(self, split: str) -> Any:
        return self.sums(split, _nll, self.ours(split))

    def reference_nll(self, split: str) -> Any:
        return self.sums(split, _nll, self.theirs(split))

    def kl(self, split: str, *, and_nll: bool = False) -> Any:
        from forgetkit.lm.head import kl_divergence

        theirs = self.theirs(split)
        return self.sums(split, lambda x, _b, n: kl_divergence(theirs[n][2], x), self.ours(split))


def _nll(logits: Any, batch: Any, _number: int) -> Any:
    import torch

    return torch.nn.functional.cross_entropy(logits, batch["target"], reduction="none")


class JoinedStep(UsualStep):
    """The usual step with one forward pass for all splits."""

    def ours(self, split: str) -> Any:
        from forgetkit.lm.encode import collate

        if not self.kept:
            names = sorted(self.items[0])
            encoded = [e for name in names for item in self.items for e in item[name]]
            batch = collate(encoded, 2)
            logits, size = self.logits(self.model, batch), len(self.items)
            for number, name in enumerate(names):
                inside = (batch["row"] // size) == number
                part = {
                    "row": batch["row"][inside] - number * size,
                    "target": batch["target"][inside],
                    "length": batch["length"][number * size : (number + 1) * size],
                }
                self.kept[name] = [(list(range(size)), part, logits[inside])]
        return self.kept[split]


def resident() -> float:
    """Return the memory this process holds now, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark reads /proc")


def work(variant: dict[str, Any]) -> dict[str, Any]:
    """Run one variant in this process."""
    import copy

    import torch

    from forgetkit.lm.adapter import add_lora
    from forgetkit.lm.load import load_model
    from forgetkit.lm.step import Step, join_splits
    from forgetkit.unlearn import make_method

    torch.set_num_threads(variant["threads"])
    base = load_model(variant["model"], dtype=variant["dtype"])
    how = variant["how"]
    second = None
    loaded = resident()
    if how and how["reference"] == "copy":
        second = copy.deepcopy(base.model).eval().requires_grad_(False)
    language_model = add_lora(base, rank=16, alpha=32, dropout=0.0, seed=0)
    model = language_model.model.train()
    name, settings = METHODS[variant["method"]]
    method = make_method(name, settings)
    # the first step warms caches and the allocator
    data = items(language_model.tokenizer, variant["steps"] + 1)
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=1e-3)
    half = variant["dtype"] != "float32"
    losses, seconds = [], 0.0
    for number in range(variant["steps"] + 1):
        chosen = data[number * BATCH : (number + 1) * BATCH]
        started = time.perf_counter()
        if how:
            kind = JoinedStep if how["forwards"] == "joined" else UsualStep
            step: Any = kind(model, second, chosen, how)
        else:
            step = Step(model, join_splits(chosen, 2))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = method(step)
            loss = torch.stack(list(found.values())).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if number:
            seconds += time.perf_counter() - started
        losses.append({key: float(value.detach()) for key, value in found.items()})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": seconds / variant["steps"],
        "memory": peak - loaded,
        "losses": losses,
    }


def apart(variant: dict[str, Any]) -> dict[str, Any]:
    """Run one variant in a process of its own."""
    command = [sys.executable, __file__, "--variant", json.dumps(variant)]
    environment = os.environ | {"GOMP_SPINCOUNT": "20000"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def farthest(left: Sequence[dict[str, float]], right: Sequence[dict[str, float]]) -> float:
    """Return the largest relative difference of two runs' losses at equal weights (first step)."""
    pairs = [(left[0][k], right[0][k]) for k in left[0] if abs(left[0][k]) > 1e-6]
    return max(abs(a - b) / abs(a) for a, b in pairs)


def report(found: dict[str, Any], options: argparse.Namespace) -> str:
    """Return the results as Markdown."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    ).stdout.strip()
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "# Training, measured",
        "",
        f"Commit {commit}, {now}; {platform.processor() or platform.machine()}, "
        f"{options.threads} threads, load {os.getloadavg()[0]:.1f}; {options.model}, "
        f"{options.dtype}, LoRA of rank 16, batches of {BATCH}, {options.steps} steps timed after "
        f"one. Command: `python benchmarks/unlearn.py`. The usual way: {__doc__.split(chr(10))[4]}",
        "",
        "| method | variant | s a step | speed | memory above the model, MiB | share |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines[2] = lines[2].split(" The usual way:")[0]
    for method, variants in found["timed"].items():
        base = variants["the usual way"]
        for name, value in variants.items():
            speed, share = base["seconds"] / value["seconds"], value["memory"] / base["memory"]
            lines.append(
                f"| {method} | {name} | {value['seconds']:.2f} | {speed:.2f}× | "
                f"{value['memory']:.0f} | {share:.2f} |"
            )
    lines += ["", "Losses of the first step in float32, largest relative difference:", ""]
    lines += [f"- {method}: {value:.1e}" for method, value in found["losses"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/unlearn.md")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(work(json.loads(options.variant))))
        return
    variants: dict[str, dict[str, str]] = {"the usual way": USUAL}
    for saving, value in SAVINGS.items():
        variants[f"usual, {saving}: {value}"] = USUAL | {saving: value}
    variants["forgetkit"] = {}
    shared = {"model": options.model, "threads": options.threads}
    found: dict[str, Any] = {"timed": {}, "losses": {}}
    for method in METHODS:
        exact = [
            apart(shared | {"method": method, "how": how, "dtype": "float32", "steps": 1})
            for how in (USUAL, {})
        ]
        found["losses"][method] = farthest(exact[0]["losses"], exact[1]["losses"])
        found["timed"][method] = {}
        for name, how in variants.items():
            one = {"method": method, "how": how, "dtype": options.dtype, "steps": options.steps}
            found["timed"][method][name] = apart(shared | one)
            print(method, name, found["timed"][method][name]["seconds"], flush=True)
    text = report(found, options)
    options.out.write_text(text, encoding="utf-8")
    options.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
