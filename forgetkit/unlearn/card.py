"""The model card: what was trained, on what, how it was checked; never text of the forget set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetkit.files import write_text

WARNING = {
    "adapter": "The base model still holds what the adapter suppresses: whoever detaches it gets "
    "the text back. Deliver merged weights (`forgetkit unlearn --merge`).",
    "model": "The text is suppressed under the tests of `forgetkit evaluate`; relearning and "
    "quantisation can bring some of it back (`--attacks relearn quantize`).",
}


def write_cards(out: Path, run: Mapping[str, Any]) -> None:
    """Write `README.md` into the adapter's and the model's folder.

    Args:
        out: folder of the run.
        run: the content of `run.json`.
    """
    for name in WARNING:
        if (out / name).is_dir():
            write_text(out / name / "README.md", card(name, run))


def card(name: str, run: Mapping[str, Any]) -> str:
    """Return the card of an adapter or a model."""
    asked = run["configuration"]
    library = "peft" if name == "adapter" else "transformers"
    lines = ["---", f"library_name: {library}", "tags: [unlearning, forgetkit]", "---", ""]
    lines += [f"# {'An adapter' if name == 'adapter' else 'A model'} that unlearned", ""]
    rows = {
        "method": f"{run['method']} {_words(asked['settings'])}".strip(),
        "adapter": _kind(asked),
        "steps": f"{run['steps']}, the weights after step {run['best_step']} kept",
        **({"update times": f"{run['scale']:g}"} if "scale" in run else {}),
        "learning rate": f"{run['learning_rate']:g}",
        "base (SHA-256)": run["model"],
        "forget set (SHA-256 of its manifest)": run["forget_set_sha256"],
        "made by": f"forgetkit {run['version']}",
    }
    looks = [row for row in run["history"] if row["step"] == run["best_step"] and "utility" in row]
    if looks:
        names = ("extraction_strength", "exact_memorization", "control", "utility")
        rows["validation slice"] = _words({name: looks[-1][name] for name in names})
    if name == "adapter":
        rows["vLLM"] = _served(run["vllm"])
    if name == "model" and "merge" in run:
        rows["merged weights against the adapter"] = _words(run["merge"])
    lines += ["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows.items())]
    return "\n".join([*lines, "", WARNING[name], ""])


def _kind(asked: Mapping[str, Any]) -> str:
    """Return the kind of adapter, with the settings that it has.

    >>> _kind({"peft": "dora", "rank": 8, "alpha": 16.0}), _kind({"peft": "ia3", "rank": 16})
    ('dora, rank 8, alpha 16', 'ia3')
    """
    if asked["peft"] == "none":
        return "none: the model's own weights were trained"
    if asked["peft"] == "ia3":
        return "ia3"
    return f"{asked['peft']}, rank {asked['rank']}, alpha {asked['alpha']:g}"


def _served(found: Mapping[str, Any]) -> str:
    if not found["accepted"]:
        return f"not accepted: {', '.join(found['reasons'])}; serve the merged model"
    return f"accepted with `--max-lora-rank {found['max_lora_rank']}` (default 16)"


def _words(values: Mapping[str, Any]) -> str:
    """Return named values in words.

    >>> _words({"retain_nll": 1.0, "dtype": "bfloat16"})
    'retain nll 1, dtype bfloat16'
    """
    shown = {k: f"{v:g}" if isinstance(v, int | float) else str(v) for k, v in values.items()}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
