"""The same numbers on a GPU as on a CPU: `make test-gpu`, skipped elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import test_methods
import tiny
import torch
from test_unlearn import examples, settings

from forgetkit.evaluate import EvaluateConfig, evaluate
from forgetkit.lm.generate import Sampling, continuations
from forgetkit.lm.load import LanguageModel, load_model
from forgetkit.lm.reference import with_reference
from forgetkit.lm.score import score
from forgetkit.lm.step import Step, join_splits
from forgetkit.registry import entries
from forgetkit.unlearn import TeachConfig, make_method, teach, unlearn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
METHODS = [entry.name for entry in entries("methods")]
KINDS = ("lora", "rslora", "dora", "ia3", "none")


def moved_to(language_model: LanguageModel, device: str) -> LanguageModel:
    language_model.model.to(device)
    return language_model


def losses_of(name: str, device: str) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Return a method's losses and the gradients of the adapter, with all that a training keeps."""
    language_model = moved_to(test_methods.moved(), device)
    method = make_method(name, {})
    answers = test_methods.items(language_model)
    chosen = [{split: item[split] for split in method.reads} for item in answers]
    splits = method.reference_splits(), method.reference_likelihoods()
    kept, _ = with_reference(language_model, chosen * 2, *splits)
    batch: Any = _placed(join_splits(kept[: len(chosen)], 256), device)
    language_model.model.train()
    found = method(Step(language_model.model, batch))
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    moving = language_model.model.named_parameters()
    slopes = {n: p.grad.cpu() for n, p in moving if p.grad is not None}
    return {key: float(value.detach()) for key, value in found.items()}, slopes


def _placed(value: Any, device: str) -> Any:
    if isinstance(value, dict):
        return {key: _placed(one, device) for key, one in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", METHODS)
def test_losses_and_gradients_are_those_of_the_cpu(name: str) -> None:
    (here, slopes), (there, others) = losses_of(name, "cpu"), losses_of(name, "cuda")
    assert there == pytest.approx(here, rel=1e-4, abs=1e-6)
    assert others.keys() == slopes.keys()
    for key, value in slopes.items():
        torch.testing.assert_close(others[key], value, rtol=1e-2, atol=5e-4)  # sums in any order


def test_scores_and_continuations_are_those_of_the_cpu(model: str) -> None:
    here, there = (load_model(model, device=d, dtype="float32") for d in ("cpu", "cuda"))
    rows = examples(tiny.PASSAGES + tiny.ELSEWHERE)
    for one, other in zip(
        score(here, rows, spread=True), score(there, rows, spread=True), strict=True
    ):
        assert other.argmax_hit == one.argmax_hit
        assert other.log_probability == pytest.approx(one.log_probability, abs=1e-4)
    prompts = [here.tokenizer(row.prompt)["input_ids"] for row in rows]
    said = [continuations(m, prompts, max_new_tokens=24) for m in (here, there)]
    assert [c.ids for c in said[0]] == [c.ids for c in said[1]]
    drawn = [
        continuations(there, prompts, max_new_tokens=8, sampling=Sampling(seed=3)) for _ in range(2)
    ]
    assert [c.ids for c in drawn[0]] == [c.ids for c in drawn[1]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_adapter_trains_and_is_delivered(
    kind: str, model: str, data: Path, tmp_path: Path
) -> None:
    rate = 0.5 if kind == "ia3" else 5e-3
    config = settings(peft=kind, dtype="auto", merge=True, learning_rate=rate)
    done = unlearn(model, data, tmp_path / "out", config=config)
    assert done.run["peak_gpu_memory_mib"] > 0
    assert done.run["history"][-1]["losses"]
    assert done.model is not None
    assert load_model(str(done.model)).device.type == "cuda"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_bfloat16(name: str, model: str, data: Path, tmp_path: Path) -> None:
    done = unlearn(
        model, data, tmp_path / "out", config=settings(method=name, settings={}, dtype="bfloat16")
    )
    assert done.run["steps"] or done.run["stopped"]


def test_recomputed_layers_train(model: str, data: Path, tmp_path: Path) -> None:
    config = settings(gradient_checkpointing=True)
    plain = unlearn(model, data, tmp_path / "plain", config=settings())
    done = unlearn(model, data, tmp_path / "recomputed", config=config)
    for one, other in zip(done.run["history"], plain.run["history"], strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-3, abs=1e-4)


def test_an_evaluation_with_attacks(model: str, data: Path, tmp_path: Path) -> None:
    adapter = unlearn(model, data, tmp_path / "run", config=settings()).adapter
    config = EvaluateConfig(
        attacks=tuple(entry.name for entry in entries("attacks")),
        dtype="float32",
        bootstrap=100,
        answer_tokens=16,
        relearn_steps=4,
    )
    found = evaluate(
        model,
        data,
        tmp_path / "evaluation",
        adapter=adapter,
        before=model,
        config=config,
    )
    assert found.results.metric("extraction_strength").before.value is not None
    assert found.results.attacks


def test_teaching(tmp_path: Path) -> None:
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    passages = tmp_path / "teach.jsonl"
    rows = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(tiny.PASSAGES)]
    passages.write_text("\n".join(rows) + "\n")
    config = TeachConfig(steps=30, learning_rate=5e-3, until=0.1, least=0.0)
    assert teach(name, [passages], tmp_path / "taught", config=config).model


def test_a_launched_process_uses_its_gpu(model: str, data: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"),
        *(str(torch.cuda.device_count()), "-m", "forgetkit_cli", "unlearn"),
        *("--model", model, "--forget-set", str(data), "--out", str(tmp_path / "out")),
        *("--method", "npo", "--set", "steps=4", "--set", "utility_floor=0.0", "--json"),
    ]
    path = os.pathsep.join([str(root), str(root / "cli"), *sys.path])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
