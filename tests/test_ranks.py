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


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_a_launcher_that_cuts_the_model_up_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(UsageError, match=f"asks for {name}"):
        unlearn("model", tmp_path / "set", tmp_path / "out")
    with pytest.raises(UsageError, match=f"asks for {name}"):
        teach("model", [], tmp_path / "out")
