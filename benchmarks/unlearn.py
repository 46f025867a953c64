"""The trainer against the usual way: `python benchmarks/unlearn.py`.

    python benchmarks/unlearn.py [--threads 2] [--steps 3] [--brief]
                                 [--out benchmarks/results/unlearn.md]

The usual way, written here as llm_unlearn and open-unlearning do it: the reference model is a copy
of the weights, logits and losses in float32 at every position with labels of -100 where nothing
is asked, every batch padded to its longest row, and one forward pass each for forget, mismatch and
retain. Same model, adapter, number format, threads and rows for both. Each variant runs in a
process of its own: seconds are of the steps, memory is the peak above what the process held once
the model was loaded. Losses are compared in float32.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
OURS: dict[str, dict[str, Any]] = {
    "forgetkit": {},
    "forgetkit, reference read at every step": {"kept": False},
    "forgetkit, a prompt read for each answer": {"share": False},
    "forgetkit, LoRA as peft runs it": {"fused": False},
}
SIZES: dict[str, dict[str, Any]] = {
    "forgetkit, steps whole": {"parts": 0},
    "forgetkit, passes of 2,048 tokens": {"parts": 2048},
    "forgetkit, passes of 512 tokens": {"parts": 512},
}
COMPARED: dict[str, tuple[str, dict[str, float]]] = {
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

    # few, so that the steps come back to them, as a training does
    forget = [split(row["text"], 16) for row in read("teach.jsonl")]
    general = [split(row["text"], 16) for row in read("retain/general.jsonl")]
    pairs = [
        Example("pair", row["prompt"], row["answer"], template="chat")
        for row in read("retain/qa.jsonl")
    ]
    mismatch = [Example("text", f.prompt, g.answer) for f, g in zip(forget, general, strict=False)]
    retain = [row for both in zip(general[20:], pairs, strict=False) for row in both]
    return forget, mismatch, retain


def items(
    tokenizer: Any, steps: int, batch: int, reads: Sequence[str]
) -> list[dict[str, list[Any]]]:
    """Return `steps` batches of items: of a forget example, its mismatch, a retain row, those read.

    As a training makes them: a split that the method does not read is not there.
    """
    from forgetkit.lm.encode import encode

    forget, mismatch, retain = rows()
    made = []
    for number in range(steps * batch):
        index = number % len(forget)
        chosen = {"forget": forget[index], "mismatch": mismatch[index], "retain": retain[number]}
        made.append({k: [encode(tokenizer, chosen[k], max_tokens=512)] for k in sorted(reads)})
    return made


@dataclass
class Ran:
    """Logits of some rows: at every position (B, T, V), or where answers are predicted (N, V)."""

    rows: list[int]
    batch: Any
    logits: Any

    def nll(self) -> Any:
        """Return the summed cross-entropy of each row, (B,)."""
        import torch

        batch, cross_entropy = self.batch, torch.nn.functional.cross_entropy
        if self.logits.dim() == 3:
            labels = batch["target"].new_full(self.logits.shape[:2], -100)
            labels[batch["row"], batch["position"]] = batch["target"]
            flat = cross_entropy(
                self.logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none"
            )
            return flat.view(labels.shape).sum(1)
        return self.summed(cross_entropy(self.logits, batch["target"], reduction="none"))

    def kl(self, theirs: Ran) -> Any:
        """Return KL(ref ‖ θ) summed over each row's answer, (B,)."""
        reference = theirs.logits.log_softmax(-1)
        values = (reference.exp() * (reference - self.logits.log_softmax(-1))).sum(-1)
        if values.dim() == 2:
            values = values[self.batch["row"], self.batch["position"]]
        return self.summed(values)

    def summed(self, values: Any) -> Any:
        return values.new_zeros(len(self.rows)).index_add(0, self.batch["row"], values)


class UsualStep:
    """A step as it is usually written, with single savings switched on for the ablation."""

    def __init__(self, model: Any, copy: Any, items: Sequence[Any], how: dict[str, str]) -> None:
        self.model, self.copy, self.items, self.how = model, copy, items, how
        self.kept: dict[str, list[Ran]] = {}
        self.memory: dict[str, float] = {}

    def holds(self, split: str) -> bool:
        return any(split in item for item in self.items)

    def average(self, _split: str, values: Any) -> Any:
        return values.mean()

    def groups(self, split: str) -> Iterator[tuple[list[int], Any]]:
        """Yield the rows of a split and their batch, right-padded."""
        from forgetkit.lm.encode import collate, like_lengths

        encoded = [e for item in self.items for e in item[split]]
        lengths = [len(e) for e in encoded]
        whole = [list(range(len(encoded)))]
        for numbers in like_lengths(lengths) if self.how["padding"] == "grouped" else whole:
            batch = collate([encoded[i] for i in numbers], 2)
            yield numbers, {name: value.to(self.model.device) for name, value in batch.items()}

    def logits(self, model: Any, batch: Any) -> Any:
        if self.how["head"] == "answers":
            from forgetkit.lm.encode import answer_hidden, head_weight

            return (answer_hidden(model, batch) @ head_weight(model).T).float()
        return model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits.float()

    def run(self, model: Any, split: str) -> list[Ran]:
        return [Ran(rows, batch, self.logits(model, batch)) for rows, batch in self.groups(split)]

    def ours(self, split: str) -> list[Ran]:
        if split not in self.kept:
            self.kept[split] = self.run(self.model, split)
        return self.kept[split]

    def theirs(self, split: str) -> list[Ran]:
        import torch

        if self.copy is not None:
            with torch.no_grad():
                return self.run(self.copy, split)
        from forgetkit.lm.adapter import adapter_off

        with adapter_off(self.model):
            return self.run(self.model, split)

    def ordered(self, values: Sequence[Any], runs: Sequence[Ran]) -> tuple[Any, Any]:
        """Return values (B,) and answer lengths (B,) in the order of the rows."""
        import torch

        lengths = torch.cat([run.batch["length"] for run in runs])
        rows = [number for run in runs for number in run.rows]
        back = torch.tensor(rows, device=lengths.device).argsort()
        return torch.cat(list(values))[back], lengths[back]

    def nll(self, split: str) -> Any:
        runs = self.ours(split)
        return self.ordered([run.nll() for run in runs], runs)

    def reference_nll(self, split: str) -> Any:
        runs = self.theirs(split)
        return self.ordered([run.nll() for run in runs], runs)

    def kl(self, split: str, *, nll_ratio: float = 0.0) -> Any:
        pairs = list(zip(self.ours(split), self.theirs(split), strict=True))
        return self.ordered([one.kl(other) for one, other in pairs], self.ours(split))


class JoinedStep(UsualStep):
    """The usual step with one forward pass for all splits, padded to the longest of them."""

    def ours(self, split: str) -> list[Ran]:
        from forgetkit.lm.encode import collate

        if not self.kept:
            names, size = sorted(self.items[0]), len(self.items)
            encoded = [e for name in names for item in self.items for e in item[name]]
            batch = {k: v.to(self.model.device) for k, v in collate(encoded, 2).items()}
            logits = self.logits(self.model, batch)
            for number, name in enumerate(names):
                first, inside = number * size, batch["row"] // size == number
                part = {key: batch[key][inside] for key in ("row", "position", "target")}
                part["row"] = part["row"] - first
                part["length"] = batch["length"][first : first + size]
                own = logits[first : first + size] if logits.dim() == 3 else logits[inside]
                self.kept[name] = [Ran(list(range(size)), part, own)]
        return self.kept[split]


def resident() -> float:
    """Return the memory this process holds now, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark reads /proc")


def work(variant: dict[str, Any]) -> dict[str, Any]:
    """Run one variant in this process: a step to warm up, then those that are timed."""
    import copy

    import torch

    from forgetkit.lm.adapter import add_lora
    from forgetkit.lm.load import load_model
    from forgetkit.lm.step import Step, join_splits
    from forgetkit.lm.train import TrainSettings, in_parts
    from forgetkit.unlearn import make_method

    torch.set_num_threads(variant["threads"])
    base = load_model(variant["model"], dtype=variant["dtype"])
    loaded, how, batch = resident(), variant["how"], variant["batch"]
    second = None
    if how and how["reference"] == "copy":
        second = copy.deepcopy(base.model).eval().requires_grad_(False)
    language_model = add_lora(base, rank=16, alpha=32, dropout=0.0, seed=0)
    model = language_model.model.train()
    move(model, variant.get("spread", 0.0))
    name, settings = variant["method"]
    method = make_method(name, settings)
    data: Any = items(language_model.tokenizer, variant["steps"] + 1, batch, method.reads)
    clocks = {"cpu": time.process_time, "wall": time.perf_counter}
    spent = dict.fromkeys(clocks, 0.0)
    size, parts = batch, 1
    if not how:
        began = {key: clock() for key, clock in clocks.items()}
        data = kept_reference(language_model, data, method, variant)
        asked = TrainSettings(1e-3, batch, most_tokens=variant["parts"])
        data, cut = in_parts(data, asked)
        size, parts = cut.batch_size, cut.accumulation
        # read once a run: the timed steps bear their share of one pass over the passages
        spent = {key: clock() - began[key] for key, clock in clocks.items()}
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=1e-3)
    half = variant["dtype"] != "float32" and next(base.model.parameters()).dtype != torch.float32
    losses, tokens = [], 0
    stack = contextlib.ExitStack()  # held: what is let go ends its blocks
    stack.enter_context(updates(model, variant))
    for number in range(variant["steps"] + 1):
        began = {key: clock() for key, clock in clocks.items()}
        row: dict[str, float] = {}
        for part in range(parts):
            first = number * batch + part * size
            chosen = data[first : first + size]
            if how:
                kind = JoinedStep if how["forwards"] == "joined" else UsualStep
                step: Any = kind(model, second, chosen, how)
            else:
                step = Step(model, join_splits(chosen, 2), share=variant["share"])
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                found = method(step)
                loss = torch.stack(list(found.values())).sum() / parts
            loss.backward()
            for key, value in found.items():
                row[key] = row.get(key, 0.0) + float(value.detach()) / parts
            if not how and number:
                tokens += step.read["model"]
            del step, found, loss
        optimizer.step()
        optimizer.zero_grad()
        if number:
            for key, clock in clocks.items():
                spent[key] += clock() - began[key]
        losses.append(row)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = {key: value / max(variant["steps"], 1) for key, value in spent.items()}
    return seconds | {"memory": peak - loaded, "losses": losses, "tokens": tokens}


def move(model: Any, spread: float) -> None:
    """Give the adapter weights that matter: without any, every divergence is 0."""
    import torch

    drawn = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if spread and "lora_B" in name:
                value.copy_(spread * torch.randn(value.shape, generator=drawn))


def updates(model: Any, variant: dict[str, Any]) -> contextlib.AbstractContextManager[None]:
    """Return the block in which LoRA runs as a training of ours runs it, or as peft does."""
    from forgetkit.lm.lora import fused_updates

    return (
        contextlib.nullcontext() if variant["how"] or not variant["fused"] else fused_updates(model)
    )


def kept_reference(language_model: Any, data: Any, method: Any, variant: dict[str, Any]) -> Any:
    from forgetkit.lm.reference import with_reference

    if not variant["kept"]:
        return data
    needs = method.reference_splits(), method.reference_likelihoods()
    return with_reference(language_model, data, *needs)[0]


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
    lines = [
        "# Training, measured",
        "",
        f"Commit {commit()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {platform.machine()}, "
        f"{options.threads} threads of {os.cpu_count()}; {options.model}, {options.dtype}, LoRA of "
        f"rank 16, batches of {BATCH} forget, mismatch and retain rows, {options.steps} steps "
        "after one that warms up. Command: `python benchmarks/unlearn.py`. Speed is of the wall; "
        "memory is the peak above the loaded model.",
        "",
        "| method | variant | s a step | speed | CPU-s a step | by CPU | MiB above the model "
        "| share |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, variants in found["timed"].items():
        base = variants["the usual way"]
        for name, value in variants.items():
            speed, by_cpu = (base[clock] / value[clock] for clock in ("wall", "cpu"))
            lines.append(
                f"| {method} | {name} | {value['wall']:.2f} | {speed:.2f}× | {value['cpu']:.2f} | "
                f"{by_cpu:.2f}× | {value['memory']:.0f} | {value['memory'] / base['memory']:.2f} |"
            )
    lines += ["", f"Losses with a moved adapter in float32, batches of {EXACT_BATCH}:", ""]
    lines += [f"- {k}: {v:.1e} apart at most, relatively" for k, v in found["losses"].items()]
    if found["methods"]:
        lines += ["", "## Every method", ""]
        lines += [f"The same rows, batches of {EXACT_BATCH}, one step after one.", ""]
        lines += ["| method | tokens a CPU-second | MiB above the model |", "| --- | --- | --- |"]
        for name, value in found["methods"].items():
            rate = value["tokens"] / value["cpu"]
            lines.append(f"| {name} | {rate:.0f} | {value['memory']:.0f} |")
    return "\n".join(lines) + "\n"


EXACT_BATCH = 4
TOLERANCE = 1e-4


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return done.stdout.strip()


class Measured:
    """What was measured, written after each variant; the same run goes on where it was stopped."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.path = options, options.out.with_suffix(".json")
        self.shared = {"model": options.model, "threads": options.threads}
        self.shared |= {"kept": True, "parts": 1024, "share": True, "fused": True}
        settings = self.shared | {"dtype": options.dtype, "steps": options.steps}
        settings |= {"commit": commit()}
        self.found: dict[str, Any] = {"losses": {}, "timed": {}, "methods": {}}
        if self.path.is_file() and not options.fresh:
            before = json.loads(self.path.read_text("utf-8"))
            self.found = before if before["settings"] == settings else self.found
        self.found["settings"] = settings

    def save(self) -> None:
        from forgetkit.files import write_json, write_text

        write_json(self.path, self.found)
        write_text(self.options.out, report(self.found, self.options))

    def losses(self, name: str, method: Any) -> None:
        """Compare the losses of the usual way with ours in float32.

        Raises:
            SystemExit: they are further apart than `TOLERANCE`.
        """
        exact = {"method": method, "dtype": "float32", "steps": 0, "batch": EXACT_BATCH}
        exact |= {"spread": 0.02}
        if name not in self.found["losses"]:
            usual, ours = (apart(self.shared | exact | {"how": how}) for how in (USUAL, {}))
            self.found["losses"][name] = farthest(usual["losses"], ours["losses"])
            print(name, "losses", self.found["losses"][name], flush=True)
        if self.found["losses"][name] > TOLERANCE:
            raise SystemExit(f"{name}: losses are {self.found['losses'][name]:.1e} apart")

    def variants(self, name: str, method: Any) -> None:
        """Time the usual way and ours; for `yao` one saving at a time, else sizes of passes."""
        variants: dict[str, dict[str, Any]] = {"the usual way": {"how": USUAL}}
        variants |= {label: {"how": {}} | ours for label, ours in OURS.items()}
        if self.options.brief:
            variants = {label: variants[label] for label in ("the usual way", "forgetkit")}
        elif name != "yao":
            variants |= {label: {"how": {}} | ours for label, ours in SIZES.items()}
        else:
            for saving, value in SAVINGS.items():
                variants[f"usual, {saving}: {value}"] = {"how": USUAL | {saving: value}}
        common = {"method": method, "dtype": self.options.dtype, "steps": self.options.steps}
        table = self.found["timed"].setdefault(name, {})
        for label, variant in variants.items():
            if label not in table:
                table[label] = apart(self.shared | common | {"batch": BATCH} | variant)
                print(name, label, table[label]["cpu"], table[label]["memory"], flush=True)
                self.save()

    def method(self, name: str) -> None:
        """Time a step of ours with a method's defaults."""
        one = {"method": (name, {}), "dtype": self.options.dtype, "steps": 1, "how": {}}
        if name not in self.found["methods"]:
            self.found["methods"][name] = apart(self.shared | one | {"batch": EXACT_BATCH})
            print(name, self.found["methods"][name]["memory"], flush=True)
            self.save()


def main() -> None:
    """Measure, and write the results."""
    from forgetkit.registry import entries

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/unlearn.md")
    parser.add_argument("--brief", action="store_true", help="The two ways only, no ablation.")
    parser.add_argument("--fresh", action="store_true", help="Measure everything again.")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(work(json.loads(options.variant))))
        return
    measured = Measured(options)
    for name, method in COMPARED.items():
        measured.losses(name, method)
        measured.variants(name, method)
    for entry in () if options.brief else entries("methods"):
        if entry.name != "yao2023":  # yao with other settings
            measured.method(entry.name)
    measured.save()
    print(report(measured.found, options))


if __name__ == "__main__":
    main()
