"""Several processes: what they do together is what one does with the batch of all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file
from test_unlearn import forget_set, settings

from forgetkit.errors import UsageError
from forgetkit.unlearn import teach, unlearn, unlearn_seeds

MEMORY = {
    "method": "npo",
    "retain_weight": "dual",  # falls, then rises
    "utility_floor": 0.95,
    "learning_rate": 2e-3,
}


def launched(
    model: str, data: Path, out: Path, processes: int, config: dict[str, Any], *more: str
) -> str:
    """Run `unlearn` under torchrun, and return what it prints."""
    root = Path(__file__).resolve().parent.parent
    given = [f"--set={name}={json.dumps(value)}" for name, value in config.items()]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc_per_node", str(processes), "-m", "forgetkit_cli", "unlearn"),
        *("--model", model, "--forget-set", str(data), "--out", str(out), "--json", *given, *more),
    ]
    environment = os.environ | {
        "PYTHONPATH": f"{root}:{root / 'cli'}",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("named", [{}, MEMORY])
def test_two_processes_do_what_one_does_with_twice_the_batch(
    tmp_path: Path, named: dict[str, Any]
) -> None:
    known = tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)
    model, data = tiny.save(known, tmp_path / "model"), forget_set(tmp_path / "set")
    config = settings(batch_size=4, **named)
    said = launched(
        model,
        data,
        tmp_path / "two",
        2,
        config.model_dump(mode="json", exclude_unset=True) | {"batch_size": 2},
    )
    assert json.loads(said)["command"] == "unlearn"  # one process speaks
    two = json.loads((tmp_path / "two" / "run.json").read_text("utf-8"))
    assert two["processes"] == 2
    one = unlearn(model, data, tmp_path / "one", config=config).run
    assert one["processes"] == 1
    assert two["tokens"] == one["tokens"]
    assert len(two["history"]) == len(one["history"])
    for left, right in zip(two["history"], one["history"], strict=True):
        assert left["losses"] == pytest.approx(right["losses"], rel=1e-3, abs=1e-4)
        if "retain_weight" in right:
            assert left["retain_weight"] == pytest.approx(right["retain_weight"], abs=1e-3)
        if "utility" in right:
            assert left["utility"] == pytest.approx(right["utility"], abs=0.01)


def test_processes_leave_finished_seeds_and_train_the_missing_one(tmp_path: Path) -> None:
    known = tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)
    model, data = tiny.save(known, tmp_path / "model"), forget_set(tmp_path / "set")
    out, config = tmp_path / "out", settings(batch_size=2, steps=2, watch_every=2)
    unlearn_seeds(model, data, out, 2, config=config)
    shutil.rmtree(out / "seed-1")
    (out / "seeds.json").unlink()
    given = config.model_dump(mode="json", exclude_unset=True)
    launched(model, data, out, 2, given, "--seeds", "2")
    runs = [json.loads((out / f"seed-{n}" / "run.json").read_text("utf-8")) for n in (0, 1)]
    assert [run["processes"] for run in runs] == [1, 2]


@pytest.mark.parametrize("named", [{}, {"layers": [1], "peft": "dora", "reference_top_k": 8}])
def test_a_model_in_pieces_is_trained_as_a_whole_one(tmp_path: Path, named: dict[str, Any]) -> None:
    known = tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)
    model, data = tiny.save(known, tmp_path / "model"), forget_set(tmp_path / "set")
    config = settings(batch_size=2, merge=True, **named)
    given = config.model_dump(mode="json", exclude_unset=True)
    launched(model, data, tmp_path / "whole", 2, given)
    launched(model, data, tmp_path / "pieces", 2, given | {"shard": True})
    files = [tmp_path / name / "run.json" for name in ("whole", "pieces")]
    whole, pieces = (json.loads(file.read_text("utf-8")) for file in files)
    assert pieces["held_share"] < 0.8  # the embeddings are whole in both
    assert pieces["tokens"] == whole["tokens"]
    for left, right in zip(pieces["history"], whole["history"], strict=True):
        assert left["losses"] == pytest.approx(right["losses"], rel=1e-4, abs=1e-5)
    for file in ("adapter/adapter_model.safetensors", "model/model.safetensors"):
        weights = [load_file(tmp_path / name / file) for name in ("whole", "pieces")]
        assert list(weights[0]) == list(weights[1])
        for name, value in weights[0].items():
            torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)
    assert pieces["merge"]["max_logit_difference"] < 1e-3


def test_a_launcher_may_ask_for_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)
    model, data = tiny.save(known, tmp_path / "model"), forget_set(tmp_path / "set")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    given = settings(batch_size=2, steps=2, watch_every=2).model_dump(
        mode="json", exclude_unset=True
    )
    launched(model, data, tmp_path / "out", 2, given, "--seeds", "2")
    for seed in (0, 1):
        run = json.loads((tmp_path / "out" / f"seed-{seed}" / "run.json").read_text("utf-8"))
        assert run["configuration"]["shard"]
        assert run["held_share"] < 0.8


def test_a_step_of_other_splits_stops_a_model_in_pieces(tmp_path: Path) -> None:
    known = tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)
    model, data = tiny.save(known, tmp_path / "model"), forget_set(tmp_path / "set")
    given = settings(batch_size=1, steps=2, watch_every=2, retain_share=0.5).model_dump(
        mode="json", exclude_unset=True
    )
    with pytest.raises(AssertionError, match="reads the same splits in each forward pass"):
        launched(model, data, tmp_path / "out", 2, given | {"shard": True})


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({}, "nobody to share"),
        ({"peft": "none"}, "--peft none"),
        ({"dtype": "nf4"}, "32 or 16 bits"),
    ],
)
def test_what_cannot_be_cut_up_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, Any], why: str
) -> None:
    data = forget_set(tmp_path / "set")
    if named:
        monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=why):
        unlearn("model", data, tmp_path / "out", config=settings(shard=True, **named))


def test_launchers_that_cut_up_what_is_trained_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="asks for FSDP"):
        teach("model", [], tmp_path / "out")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UsageError, match="asks for DEEPSPEED"):
        unlearn("model", tmp_path / "set", tmp_path / "out")
