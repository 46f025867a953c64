"""`dedupe` on the engine: one result whatever the workers, the faults and the kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import KINDS, Faults, Killed

from forgetkit.config import parse
from forgetkit.dedupe import DedupeConfig, dedupe, dedupe_shard, preview
from forgetkit.dedupe.signing import Shingle, Sign
from forgetkit.engine import Output, Shard, Task
from forgetkit.errors import ForgetkitError, UsageError
from forgetkit.files import PARTS, sha256_tree


def prose(seed: int, words: int = 40) -> str:
    dice = random.Random(seed)
    letters = "etaoinshrdlu"
    return " ".join("".join(dice.choices(letters, k=dice.randint(2, 8))) for _ in range(words))


def make(folder: Path) -> Path:
    """Write exact and near copies, a repeated line and a bad row, in every kind of file."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    notice = "Subscribe to our newsletter for more stories like this."
    texts = [f"{notice}\n{prose(n % 5)} {n}" for n in range(8)]
    lines = [json.dumps({"id": f"../../{n}", "text": text}) for n, text in enumerate(texts)]
    lines[3] = '{"text": '
    (corpus / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = {"text": [prose(9), prose(1) + " 0", prose(9).upper()], "n": [1, 2, 3]}
    pq.write_table(pa.table(rows), corpus / "b.parquet", row_group_size=2)
    for n in range(2):
        (corpus / f"{n}.txt").write_text(f"{prose(9)}\n{notice}", encoding="utf-8")
    return corpus


def settings(level: str) -> DedupeConfig:
    return parse(DedupeConfig, {"level": level, "threshold": 0.9, "task_mb": 0.0015}, "dedupe")


@pytest.mark.parametrize("level", ["document", "line"])
def test_workers_and_shards_give_the_same_bytes(tmp_path: Path, level: str) -> None:
    corpus, config = make(tmp_path), settings(level)
    done = dedupe([corpus], tmp_path / "1", config=config)
    assert done.counts["duplicate" if level == "document" else "cut"] > 2
    for workers in (2, 4):
        dedupe([corpus], tmp_path / str(workers), config=config, workers=workers)
    counts = [dedupe_shard([corpus], tmp_path / "s", Shard(n, 3), config=config) for n in (3, 1, 2)]
    tasks = preview([corpus], config=config)["tasks"]
    assert sum(count["tasks"] for count in counts) == counts[0]["of"] == tasks > 3
    assert not (tmp_path / "s" / "summary.json").exists()
    dedupe([corpus], tmp_path / "s", config=config)
    trees = [sha256_tree(tmp_path / name) for name in ("1", "2", "4", "s")]
    assert trees[0] == trees[1] == trees[2] == trees[3]


def test_a_corpus_against_itself_loses_all(tmp_path: Path) -> None:
    corpus = make(tmp_path)
    done = dedupe([corpus], tmp_path / "out", against=[corpus], config=settings("document"))
    assert (done.counts["kept"], done.counts["duplicate"]) == (0, 12)
    with pytest.raises(UsageError, match="unknown engine 'spark'"):
        dedupe([corpus], tmp_path / "x", config=settings("document"), engine="spark")


@pytest.mark.parametrize(
    ("level", "kind", "first", "step"),
    [
        ("document", "kill", 1, 1),
        *(("document", kind, place, 4) for place, kind in enumerate(KINDS[1:], 1)),
        ("line", "kill", 1, 1),
    ],
)
def test_whichever_operation_fails_the_same_command_then_gives_the_same_bytes(
    tmp_path: Path, level: str, kind: str, first: int, step: int
) -> None:
    corpus, config = make(tmp_path), settings(level)
    stored = level == "document"

    def run(name: str) -> dict[str, str]:
        store = tmp_path / f"{name}-store" if stored else None
        dedupe([corpus], tmp_path / name, config=config, signatures=store)
        found = sha256_tree(tmp_path / name)
        return (
            found | {f"store/{file}": mark for file, mark in sha256_tree(store).items()}
            if store
            else found
        )

    expected = run("whole")
    nth, failed = first, 0
    while True:
        faults = Faults(nth, kind)
        with pytest.MonkeyPatch.context() as patch:
            faults.install(patch)
            try:
                run(str(nth))
            except (Killed, OSError, ForgetkitError):
                failed += 1
        if faults.seen < nth:
            break
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda handle: None)
            assert run(str(nth)) == expected, f"operation {nth}"
        assert not (tmp_path / str(nth) / PARTS).exists()
        nth += step
    assert failed > 30


def test_what_was_looked_at_before_a_kill_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, config = make(tmp_path), settings("document")
    dedupe([corpus], tmp_path / "whole", config=config)
    seen: list[tuple[str, int]] = []
    sign, shingle = Sign.__call__, Shingle.__call__

    def signed(self: Sign, task: Task) -> Output:
        seen.append(("sign", task.number))
        if len(seen) == 3:
            raise Killed
        return sign(self, task)

    def shingled(self: Shingle, task: Task) -> Output:
        seen.append(("shingle", task.number))
        if task.number == 1 and seen.count(("shingle", 1)) == 1:
            raise Killed
        return shingle(self, task)

    monkeypatch.setattr(Sign, "__call__", signed)
    monkeypatch.setattr(Shingle, "__call__", shingled)
    kills = 0
    while True:
        try:
            dedupe([corpus], tmp_path / "out", config=config, workers=1 + kills % 2)
        except Killed:
            kills += 1
            continue
        break
    tasks = preview([corpus], config=config)["tasks"]
    assert kills == 2
    assert [seen.count(("sign", n)) for n in range(tasks)] == [1, 1, 2, *[1] * (tasks - 3)]
    assert sha256_tree(tmp_path / "out") == sha256_tree(tmp_path / "whole")


RAY = """
import os, signal, sys
from pathlib import Path
from forgetkit.dedupe import DedupeConfig, dedupe
from forgetkit.dedupe.signing import Shingle

class Fragile(Shingle):
    def __call__(self, task):
        mark = Path(os.environ["KILL_ONCE"])
        if task.number == 1 and not mark.exists():
            mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(task)

import forgetkit.dedupe.job as job
job.Shingle = Fragile
config = DedupeConfig.model_validate_json(sys.argv[3])
dedupe([Path(sys.argv[1])], Path(sys.argv[2]), config=config, workers=2, engine="ray")
"""


def test_ray_gives_the_same_bytes_though_a_worker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    corpus, config = make(tmp_path), settings("document")
    dedupe([corpus], tmp_path / "local", config=config)
    arguments = [corpus, tmp_path / "ray", config.model_dump_json()]
    environment = {
        **os.environ,
        "KILL_ONCE": str(tmp_path / "killed"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", RAY, *map(str, arguments)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "killed").exists()
    assert sha256_tree(tmp_path / "ray") == sha256_tree(tmp_path / "local")
