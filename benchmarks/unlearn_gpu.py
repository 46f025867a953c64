"""The trainer against the usual way on a GPU: `python benchmarks/unlearn_gpu.py`.

    python benchmarks/unlearn_gpu.py [--shape 1b] [--batch 16] [--steps 10] [--limit 24]
                                     [--out benchmarks/results/unlearn_gpu.md]

Models of random weights in bfloat16 with a vocabulary of 128,256 and the shapes of Llama 3.2 1B and
Llama 3.1 8B, the rows of `unlearn.py` (real lengths), LoRA of rank 16 on all linear layers. The
usual way is that of `unlearn.py`. Seconds are of the wall between two points at which the GPU has
nothing left to do; memory is the most that was allocated above the weights of one model. With
`--limit` the shape of 8B gets as many layers as can still be trained in so many GB (10^9 bytes).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearn import COMPARED, ROOT, USUAL, UsualStep, commit, items, kept_reference, updates

VOCABULARY = 128_256
SHAPES: dict[str, dict[str, Any]] = {
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": False,
    },
}
OURS: dict[str, dict[str, Any]] = {
    "forgetkit": {},
    "forgetkit, reference read at every step": {"kept": False},
    "forgetkit, LoRA as peft runs it": {"fused": False},
    "forgetkit, layers recomputed": {"recompute": True},
}
LEAST, MOST = 8, 56  # layers of the shape of 8B between which the largest is looked for


def build(shape: str, layers: int = 0) -> Any:
    """Build a Llama of random weights in bfloat16 on the GPU."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    given = SHAPES[shape] | ({"num_hidden_layers": layers} if layers else {})
    config = LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=4096, **given)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def work(variant: dict[str, Any]) -> dict[str, Any]:
    """Run one variant in this process: steps to warm up, then those that are timed."""
    import copy

    import torch

    from forgetkit.lm.adapter import add_lora
    from forgetkit.lm.layers import checkpoint_layers
    from forgetkit.lm.load import LanguageModel, load_tokenizer
    from forgetkit.lm.step import Step, join_splits
    from forgetkit.unlearn import make_method

    if variant.get("limit"):
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(variant["limit"] * 1e9 / whole)
    tokenizer: Any = load_tokenizer(variant["tokenizer"])
    base = build(variant["shape"], variant.get("layers", 0))
    size = sum(p.numel() for p in base.parameters())
    loaded = torch.cuda.memory_allocated()
    how, batch, warm = variant["how"], variant["batch"], 2
    second = copy.deepcopy(base).requires_grad_(False) if how else None
    named = LanguageModel(base, tokenizer, "random", None)
    language_model = add_lora(named, rank=16, alpha=32, dropout=0.0, seed=0)
    model: Any = language_model.model.train()
    if variant.get("recompute"):
        checkpoint_layers(model)
    name, settings = variant["method"]
    method = make_method(name, settings)
    steps = variant["steps"] + warm
    data: Any = items(tokenizer, steps, batch, method.reads)
    began = time.perf_counter()
    if not how:
        data = kept_reference(language_model, data, method, variant)
    torch.cuda.synchronize()
    spent = (time.perf_counter() - began) * variant["steps"] / steps  # their share of one reading
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=1e-4, fused=True)
    losses: list[dict[str, float]] = []
    tokens = 0
    stack = contextlib.ExitStack()
    stack.enter_context(updates(model, variant))
    for number in range(steps):
        torch.cuda.synchronize()
        began = time.perf_counter()
        chosen = data[number * batch : (number + 1) * batch]
        with torch.autocast("cuda", torch.bfloat16):
            if how:
                step: Any = UsualStep(model, second, chosen, how)
            else:
                step = Step(model, placed(join_splits(chosen, 2)))
            found = method(step)
            loss = torch.stack(list(found.values())).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append({key: float(value.detach()) for key, value in found.items()})
        torch.cuda.synchronize()
        if number >= warm:
            spent += time.perf_counter() - began
            tokens += sum(len(e) for item in chosen for rows in item.values() for e in rows)
        del step, found, loss
    peak = torch.cuda.max_memory_allocated()
    return {
        "seconds": spent / variant["steps"],
        "tokens": tokens / variant["steps"],
        "loaded": loaded,
        "peak": peak,
        "parameters": size,
        "losses": losses,
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
    }


def placed(value: Any) -> Any:
    """Put a batch on the GPU."""
    if isinstance(value, dict):
        return {key: placed(one) for key, one in value.items()}
    return value.to("cuda") if hasattr(value, "to") else value


def apart(variant: dict[str, Any]) -> dict[str, Any] | None:
    """Run one variant in a process of its own; None where the memory does not suffice."""
    command = [sys.executable, __file__, "--variant", json.dumps(variant)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "OutOfMemoryError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def largest(common: dict[str, Any], how: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Return the run of the most layers that fit; of the least, if none does."""
    fits, found, too_many = 0, None, MOST + 1
    while too_many - max(fits, LEAST - 1) > 1:
        layers = (max(fits, LEAST - 1) + too_many) // 2
        variant = common | {"shape": "8b", "layers": layers, "how": how, "steps": 1} | ours
        if done := apart(variant):
            fits, found = layers, done
        else:
            too_many = layers
        print(layers, "layers", "fit" if done else "do not fit", flush=True)
    if found is None:
        return {"layers": 0, "parameters": 0, "peak": 0}
    return {key: found[key] for key in ("parameters", "peak")} | {"layers": fits}


def report(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    given = found["settings"]
    lines = [
        "# Training on a GPU, measured",
        "",
        f"Commit {given['commit']}, {given['at']}; {found['device']}, torch {found['torch']}, "
        f"bfloat16. Command: `python benchmarks/unlearn_gpu.py --batch {given['batch']}`. A random "
        f"model of the shape of Llama 3.2 1B with a vocabulary of {VOCABULARY:,}, LoRA of rank 16 "
        f"on all linear layers, {given['batch']} forget, mismatch and retain rows a step, "
        f"{given['steps']} steps after two that warm up. Memory is above the weights of one model.",
        "",
        "| method | variant | s a step | speed | tokens/s | GB above the model | share |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, variants in found["timed"].items():
        base = variants["the usual way"]
        for name, value in variants.items():
            above, usual = (v["peak"] - v["loaded"] for v in (value, base))
            lines.append(
                f"| {method} | {name} | {value['seconds']:.3f} | "
                f"{base['seconds'] / value['seconds']:.2f}× | "
                f"{value['tokens'] / value['seconds']:.0f} | {above / 1e9:.2f} | "
                f"{above / usual:.2f} |"
            )
    if found["largest"]:
        lines += ["", f"## The largest model that trains in {given['limit']:g} GB", ""]
        lines += ["Layers of the shape of Llama 3.1 8B, `yao`, the same rows a step.", ""]
        lines += ["| variant | layers | parameters | most allocated |", "| --- | --- | --- | --- |"]
        for name, value in found["largest"].items():
            size, peak = value["parameters"] / 1e9, value["peak"] / 1e9
            lines.append(f"| {name} | {value['layers']} | {size:.2f}e9 | {peak:.1f} GB |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results after each variant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", default="1b", choices=sorted(SHAPES))
    parser.add_argument("--tokenizer", default="smollm2-135m-instruct")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--limit", type=float, default=24.0, help="GB; 0: no search")
    parser.add_argument("--only", default="speed,largest")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/unlearn_gpu.md")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(work(json.loads(options.variant))))
        return
    common = {"tokenizer": options.tokenizer, "batch": options.batch, "steps": options.steps}
    common |= {"kept": True, "fused": True}
    found: dict[str, Any] = {"timed": {}, "largest": {}}
    found["settings"] = common | {
        "commit": commit(),
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "limit": options.limit,
    }
    for name, method in COMPARED.items() if "speed" in options.only else ():
        table = found["timed"].setdefault(name, {})
        variants = {"the usual way": {"how": USUAL}} | {k: {"how": {}} | v for k, v in OURS.items()}
        for label, variant in variants.items():
            done = apart(common | {"shape": options.shape, "method": method} | variant)
            if done is None:
                raise SystemExit(f"{name}, {label}: out of memory")
            table[label] = done
            found |= {key: done[key] for key in ("device", "torch")}
            said = f"{done['seconds']:.3f} s", f"{done['peak'] / 1e9:.1f} GB"
            print(name, label, *said, flush=True)
            save(options.out, found)
    if "largest" in options.only and options.limit:
        limited = common | {"limit": options.limit, "method": COMPARED["yao"]}
        found["largest"]["the usual way"] = largest(limited, USUAL, {})
        found["largest"]["forgetkit"] = largest(limited, {}, {})
        found["largest"]["forgetkit, layers recomputed"] = largest(limited, {}, {"recompute": True})
        save(options.out, found)


def save(path: Path, found: dict[str, Any]) -> None:
    from forgetkit.files import write_json, write_text

    write_json(path.with_suffix(".json"), found)
    if found["timed"]:
        write_text(path, report(found))


if __name__ == "__main__":
    main()
