"""What evaluation costs and whether it is right: metrics, generation, extraction strength.

    python benchmarks/evaluate.py [--rows 16] [--agreement 200] [--out FILE]

Three tables and a check, in CPU-seconds of one thread on SmolLM2-135M-Instruct (float32;
generation in the format the processor likes):

1. eight metrics in one run against one forward pass for each, the usual way (batches in the given
   order, padded to the longest, logits at every position), and one saving at a time;
2. tokens a second of generation against `model.generate` one prompt at a time;
3. extraction strength against what greedy decoding recovers.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from forgetkit.evaluate import membership
from forgetkit.evaluate.sample import Sample
from forgetkit.forget_set import Example
from forgetkit.lm.encode import collate, encode, render_prompt
from forgetkit.lm.generate import continuations
from forgetkit.lm.load import LanguageModel, load_model
from forgetkit.lm.score import Score, exact_memorization, extraction_strength, score

DATA = Path(__file__).parent.parent / "sample_data"
BATCH = 8
Seconds = float

METRICS: dict[str, Callable[[Sample], float | None]] = {
    "extraction strength": lambda s: extraction_strength(s.argmax_hit),
    "exact memorisation": lambda s: exact_memorization(s.argmax_hit),
    "probability": lambda s: None if s.nll is None else math.exp(-s.nll),
    "perplexity": lambda s: None if s.nll is None else math.exp(s.nll),
    "membership, loss": membership.loss_score,
    "membership, zlib": membership.zlib_score,
    "membership, min-k": membership.min_k_score,
    "membership, min-k++": membership.min_k_plus_score,
}


def timed(work: Callable[[], Any]) -> tuple[Any, Seconds]:
    """Return what the work gives and the CPU-seconds it took."""
    started = time.process_time()
    return work(), time.process_time() - started


def examples(count: int) -> list[Example]:
    """Return questions with answers and passages cut after their eighth word, in turn."""
    found: list[Example] = []
    asked = (json.loads(line) for line in (DATA / "retain/qa.jsonl").open(encoding="utf-8"))
    told = (json.loads(line) for line in (DATA / "general_eval.jsonl").open(encoding="utf-8"))
    for row, passage in zip(asked, told, strict=False):
        found.append(Example("pair", row["prompt"], row["answer"], template="chat"))
        words = passage["text"].split(" ")[:120]
        found.append(Example("text", " ".join(words[:8]), " " + " ".join(words[8:])))
    return found[:count]


def samples(rows: Sequence[Example], scores: Sequence[Score]) -> list[Sample]:
    """Return the rows that metrics are computed from."""
    return [
        Sample(
            "after",
            "forget",
            row,
            log_probability=found.log_probability,
            argmax_hit=found.argmax_hit,
            mean=found.mean,
            deviation=found.deviation,
        )
        for row, found in zip(rows, scores, strict=True)
    ]


def usual_pass(
    model: LanguageModel,
    rows: Sequence[Example],
    *,
    spread: bool,
    buckets: bool = False,
    exact: bool = False,
) -> list[Score]:
    """Score with the library's own logits at every position, as evaluation code usually does.

    `exact` takes the softmax in float64.
    """
    encoded = [encode(model.tokenizer, row, max_tokens=512) for row in rows]
    order = list(range(len(rows)))
    if buckets:
        order.sort(key=lambda n: len(encoded[n]))
    found: dict[int, Score] = {}
    pad_id = int(model.tokenizer.pad_token_id)
    for first in range(0, len(order), BATCH):
        places = order[first : first + BATCH]
        batch = collate([encoded[n] for n in places], pad_id)
        with torch.inference_mode():
            logits = model.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits.float()
            table = (logits.double() if exact else logits).log_softmax(-1)  # (B, T, V)
        for line, place in enumerate(places):
            one = encoded[place]
            start = len(one.prompt_ids) - 1
            part = table[line, start : start + len(one.answer_ids)]
            target = torch.tensor(one.answer_ids)
            columns = [part.gather(1, target[:, None]).squeeze(1), part.argmax(1) == target]
            if spread:
                mean = (part.exp() * part).sum(1)
                square = (part.exp() * part**2).sum(1)
                columns += [mean, (square - mean**2).clamp_min(0).sqrt()]
            found[place] = Score(one.example_id, *(tuple(c.tolist()) for c in columns))
    return [found[n] for n in range(len(rows))]


def values(rows: Sequence[Sample]) -> dict[str, list[float]]:
    """Return every metric of every row."""
    return {name: [metric(row) or 0.0 for row in rows] for name, metric in METRICS.items()}


def measure_metrics(model: LanguageModel, count: int) -> list[str]:
    """Compare one run with one forward pass a metric; return the lines of the table."""
    rows = examples(count)

    def one_each() -> dict[str, list[float]]:
        return {
            name: values(samples(rows, usual_pass(model, rows, spread=name.endswith("++"))))[name]
            for name in METRICS
        }

    ours, took = timed(
        lambda: values(samples(rows, score(model, rows, max_tokens=512, spread=True)))
    )
    single, once = timed(lambda: usual_pass(model, rows, spread=True))
    _, bucketed = timed(lambda: usual_pass(model, rows, spread=True, buckets=True))
    usual, usually = timed(one_each)
    apart = {
        name: max(abs(a - b) for a, b in zip(ours[name], usual[name], strict=True))
        for name in METRICS
    }
    mean_apart = max(abs(sum(ours[name]) - sum(usual[name])) / len(rows) for name in METRICS)
    assert len(single) == len(rows)
    return [
        "| eight metrics | CPU-seconds | against ours |",
        "|---|---|---|",
        f"| one forward pass a metric, the usual way | {usually:.1f} | {usually / took:.1f}× |",
        f"| one pass for all | {once:.1f} | {once / took:.2f}× |",
        f"| and like lengths together | {bucketed:.1f} | {bucketed / took:.2f}× |",
        f"| and the head at answer tokens only, in pieces (`score`) | {took:.1f} | 1× |",
        "",
        f"{count} rows. Largest difference of a metric's mean: {mean_apart:.1e}; of one row: "
        + ", ".join(f"{name} {gap:.1e}" for name, gap in apart.items())
        + ".",
    ]


def measure_equality(count: int) -> list[str]:
    """Compare with the usual way in float64, where a batch of another shape changes nothing.

    torch's own softmax over 49,152 numbers in float32 is wrong by some 1e-5.
    """
    model = load_model("smollm2-135m-instruct", dtype="float32")
    model.model.double()
    rows = examples(count)
    exact, usual = (
        values(samples(rows, usual_pass(model, rows, spread=True, exact=exact)))
        for exact in (True, False)
    )
    ours = values(samples(rows, score(model, rows, max_tokens=512, spread=True)))
    apart = {
        label: max(
            abs(a - b) for name in METRICS for a, b in zip(found[name], exact[name], strict=True)
        )
        for label, found in (("`score`", ours), ("the usual way", usual))
    }
    listed = ", ".join(f"{label} {gap:.1e}" for label, gap in apart.items())
    return [
        f"Largest error of any metric of any of {count} rows, the model in float64, against the "
        f"softmax in float64 too: {listed}.",
    ]


def measure_generation(count: int, tokens: int) -> list[str]:
    """Compare batched generation with one prompt at a time."""
    from transformers import GenerationConfig

    model = load_model("smollm2-135m-instruct")
    rows = examples(2 * count)[::2]
    prompts = [render_prompt(model.tokenizer, r.prompt, r.template) for r in rows]
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=tokens,
        pad_token_id=model.tokenizer.pad_token_id,
        eos_token_id=model.tokenizer.eos_token_id,
    )

    def alone() -> int:
        new = 0
        with torch.inference_mode():
            for prompt in prompts:
                ids = torch.tensor([prompt])
                said = model.model.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings
                )
                new += said.shape[1] - len(prompt)
        return new

    answers, took = timed(lambda: continuations(model, prompts, max_new_tokens=tokens))
    new, usually = timed(alone)
    said = sum(len(answer.log_probability) for answer in answers)
    rate, usual = said / took, new / usually
    return [
        "| generation | tokens a CPU-second | |",
        "|---|---|---|",
        f"| `model.generate`, one prompt at a time | {usual:.1f} | 1× |",
        f"| `continuations`, {count} prompts | {rate:.1f} | {rate / usual:.1f}× |",
    ]


def repeated(count: int, tokenizer: Any) -> list[Example]:
    """Return passages that begin a second time: the model copies some, and some in part."""
    told = [json.loads(line) for line in (DATA / "general_eval.jsonl").open(encoding="utf-8")]
    found = []
    for place in range(count):
        words = told[place % len(told)]["text"].split(" ")[place // len(told) :][:18]
        text = " ".join(words)
        found.append(Example("text", f"{text}\n{' '.join(words[:3])}", " " + " ".join(words[3:14])))
    return found


def measure_agreement(model: LanguageModel, count: int) -> list[str]:
    """Check that greedy decoding recovers exactly the share that extraction strength says."""
    rows = repeated(count, model.tokenizer)
    scores = score(model, rows, max_tokens=512)
    encoded = [encode(model.tokenizer, row, max_tokens=512) for row in rows]
    asked: dict[int, list[tuple[int, int]]] = {}
    for place, (found, one) in enumerate(zip(scores, encoded, strict=True)):
        known = round((extraction_strength(found.argmax_hit) or 0.0) * len(one.answer_ids))
        first = len(one.answer_ids) - known
        for start in {first, first - 1}:
            if 0 <= start < len(one.answer_ids):
                asked.setdefault(len(one.answer_ids) - start, []).append((place, start))
    odd, strengths = [], [extraction_strength(s.argmax_hit) or 0.0 for s in scores]
    for rest, wanted in sorted(asked.items()):
        prompts = [encoded[p].prompt_ids + encoded[p].answer_ids[:start] for p, start in wanted]
        answers = continuations(model, prompts, max_new_tokens=rest)
        for (place, start), answer in zip(wanted, answers, strict=True):
            one = encoded[place]
            true = model.tokenizer.decode(one.answer_ids[start:], skip_special_tokens=True)
            expected = all(scores[place].argmax_hit[start:])
            if (answer.text == true) is not expected:
                odd.append(f"row {place} from token {start}")
    whole = sum(s == 1 for s in strengths)
    none = sum(s == 0 for s in strengths)
    listed = f" They are: {', '.join(odd)}." if odd else ""
    return [
        f"Extraction strength against greedy decoding, {count} examples (float32): "
        f"{count - len({o.split()[1] for o in odd})} agree exactly.{listed} Strength 1 on {whole}, "
        f"0 on {none}, between on {count - whole - none}; mean {sum(strengths) / count:.3f}.",
    ]


def main() -> None:
    """Run the measurements; print and write each as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--agreement", type=int, default=200)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("smollm2-135m-instruct", dtype="float32")
    lines: list[str] = []
    for part in (
        lambda: measure_metrics(model, given.rows),
        lambda: measure_equality(given.rows),
        lambda: measure_generation(given.prompts, 24),
        lambda: measure_agreement(model, given.agreement),
    ):
        found = part()
        print("\n".join([*found, ""]), flush=True)
        lines += [*found, ""]
        if given.out:  # what was measured stays when a later part is cut off
            given.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
