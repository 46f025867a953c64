"""The engine, by way of `mine`: one result whatever the workers, the faults and the kills."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any

import mined_corpus
import pytest
from faults import KINDS, Faults, Killed

from forgetkit.engine import Output, Part, Shard, Task, once, plan, run
from forgetkit.errors import ForgetkitError, InputError, TamperedError, UsageError
from forgetkit.files import PARTS, canonical_json, sha256_tree
from forgetkit.mine import MineConfig, mine, mine_shard, preview
from forgetkit.mine.look import Look

HERE = Path(__file__).resolve().parent


class Count:
    """Count the bytes of a task; not in threads."""

    in_threads = False

    def __call__(self, task: Task) -> Output:
        return Output(counts={"bytes": task.size, "process": os.getpid()})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], MineConfig]:
    return mined_corpus.make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def reference(
    made: tuple[list[Path], MineConfig], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    out = tmp_path_factory.mktemp("reference") / "out"
    result = mine(made[0], out, config=made[1])
    assert result.counts == {"pattern": 39 + 10 + 5}
    assert len(plan(made[0], 500).tasks) > 8
    return sha256_tree(out)


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_gives_the_same_bytes(
    made: tuple[list[Path], MineConfig], reference: dict[str, str], tmp_path: Path, workers: int
) -> None:
    mine(made[0], tmp_path / "out", config=made[1], workers=workers)
    assert sha256_tree(tmp_path / "out") == reference


def test_spans_come_by_file_and_row_and_the_size_of_tasks_changes_none(
    made: tuple[list[Path], MineConfig], reference: dict[str, str], tmp_path: Path
) -> None:
    whole = made[1].model_copy(update={"task_mb": 32.0})
    result = mine(made[0], tmp_path / "out", config=whole)
    assert sha256_tree(tmp_path / "out")["spans.parquet"] == reference["spans.parquet"]
    places = [span.source.rpartition(":") for span in result.spans]
    assert places == sorted(places, key=lambda place: (place[0], int(place[2])))
    assert {file for file, _, _ in places} == {
        "a.jsonl",
        "b.parquet",
        *(f"texts/{n}.txt" for n in range(5)),
    }


def test_shards_in_any_order_and_a_gather_give_the_same_bytes(
    made: tuple[list[Path], MineConfig], reference: dict[str, str], tmp_path: Path
) -> None:
    done = [
        mine_shard(made[0], tmp_path / "out", Shard(n, 3), config=made[1])["tasks"]
        for n in (3, 1, 2)
    ]
    assert sum(done) == preview(made[0], made[1])["tasks"]
    assert not (tmp_path / "out" / "spans.parquet").exists()
    mine(made[0], tmp_path / "out", config=made[1])
    assert sha256_tree(tmp_path / "out") == reference


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


def test_processes_work_where_threads_do_not_help(
    made: tuple[list[Path], MineConfig], tmp_path: Path
) -> None:
    tasks = plan(made[0], 2000).tasks
    parts = run(tasks, Count(), tmp_path, "x", workers=2)
    assert [part.counts["bytes"] for part in parts] == [task.size for task in tasks]
    assert os.getpid() not in {part.counts["process"] for part in parts}
    with pytest.raises(UsageError, match="unknown engine 'spark'"):
        run(tasks, Count(), tmp_path, "x", engine="spark")


@pytest.mark.parametrize("kind", KINDS)
def test_whichever_operation_fails_the_same_command_then_gives_the_same_bytes(
    made: tuple[list[Path], MineConfig], tmp_path: Path, kind: str
) -> None:
    config = made[1].model_copy(update={"task_mb": 0.002})
    nth, failed = 1, 0
    mine(made[0], tmp_path / "whole", config=config)
    expected = sha256_tree(tmp_path / "whole")
    while True:
        out = tmp_path / str(nth)
        faults = Faults(nth, kind)
        with pytest.MonkeyPatch.context() as patch:
            faults.install(patch)
            try:
                mine(made[0], out, config=config)
            except (Killed, OSError, ForgetkitError):
                failed += 1
        if faults.seen < nth:
            break
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda handle: None)
            mine(made[0], out, config=config)
        assert sha256_tree(out) == expected, f"operation {nth}"
        assert not (out / PARTS).exists()
        nth += 1
    assert failed > 40


def test_a_killed_process_leaves_parts_that_the_next_one_takes(
    made: tuple[list[Path], MineConfig],
    reference: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from forgetkit.mine import MineConfig, mine; from forgetkit.mine.look import Look\n"
        "look = Look.__call__\n"
        "def slow(self, task):\n"
        "    print(task.number, flush=True); time.sleep(0.05); return look(self, task)\n"
        "Look.__call__ = slow\n"
        "config = MineConfig.model_validate_json(sys.argv[3])\n"
        "mine([Path(sys.argv[1])], Path(sys.argv[2]), config=config)\n"
    )
    corpus, config = made
    out = tmp_path / "out"
    arguments = [str(corpus[0]), str(out), config.model_dump_json()]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(list((out / PARTS).glob("*.json"))) >= 4
    seen: list[int] = []
    original = Look.__call__

    def counted(self: Look, task: Task) -> Output:
        seen.append(task.number)
        return original(self, task)

    monkeypatch.setattr(Look, "__call__", counted)
    mine(corpus, out, config=config)
    assert sha256_tree(out) == reference
    assert 0 < len(seen) <= preview(corpus, config)["tasks"] - 4


def test_a_part_that_was_changed_is_made_anew(tmp_path: Path) -> None:
    import pyarrow as pa

    def make() -> Output:
        return Output({"spans": pa.table({"n": [1, 2]})}, {"made": 1})

    first = once(tmp_path, "key", make)
    (file,) = tmp_path.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    second: Part = once(tmp_path, "key", make)
    assert second.digests == first.digests
    table = second.table("spans")
    assert table is not None
    assert table.to_pydict() == {"n": [1, 2]}
    assert second.table("other") is None
    assert (file.stat().st_mode & 0o777) == 0o600


def test_a_file_that_changed_is_read_again_and_the_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, config = mined_corpus.make(tmp_path)
    config = config.model_copy(update={"max_bad_rows": 0})
    with pytest.raises(ForgetkitError, match="1 bad rows, 0 allowed"):
        mine(corpus, tmp_path / "out", config=config)
    broken = (corpus[0] / "a.jsonl").read_text(encoding="utf-8")
    (corpus[0] / "a.jsonl").write_text(broken.replace('{"text": \n', '{"text": "."}\n'), "utf-8")
    seen: list[str] = []
    original = Look.__call__

    def counted(self: Look, task: Task) -> Output:
        seen.extend(piece.label for piece in task.pieces)
        return original(self, task)

    monkeypatch.setattr(Look, "__call__", counted)
    result = mine(corpus, tmp_path / "out", config=config)
    assert result.counts == {"pattern": 54}
    assert set(seen) == {"a.jsonl"}


def test_a_changed_result_is_not_taken_for_the_run_s_own(tmp_path: Path) -> None:
    corpus, config = mined_corpus.make(tmp_path)
    mine(corpus, tmp_path / "out", config=config)
    (tmp_path / "out" / "quarantine.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(TamperedError, match="was changed"):
        mine(corpus, tmp_path / "out", config=config)


def test_ids_and_names_of_the_corpus_reach_no_path(
    made: tuple[list[Path], MineConfig], tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("*"))
    result = mine(made[0], tmp_path / "out", config=made[1])
    assert any(span.doc_id.startswith("../../") for span in result.spans)
    names = {path.name for path in tmp_path.rglob("*")} - {path.name for path in before}
    assert names == {
        "out",
        "spans.parquet",
        "quarantine.jsonl",
        "summary.json",
        ".summary.json.started",
    }
    assert canonical_json(sorted(names)).isascii()


RAY = """
import os, signal, sys
from pathlib import Path
from forgetkit.engine import Output
from forgetkit.mine import MineConfig, mine
from forgetkit.mine.look import Look

class Fragile(Look):
    def __call__(self, task):
        mark = Path(os.environ["KILL_ONCE"])
        if task.number == 3 and not mark.exists():
            mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(task)

import forgetkit.mine.stage as stage
stage.Look = Fragile
config = MineConfig.model_validate_json(sys.argv[3])
mine([Path(sys.argv[1])], Path(sys.argv[2]), config=config, workers=2, engine="ray")
"""


def test_ray_gives_the_same_bytes_though_a_worker_is_killed(
    made: tuple[list[Path], MineConfig], reference: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    corpus, config = made
    arguments = [str(corpus[0]), str(tmp_path / "out"), config.model_dump_json()]
    environment = {
        **os.environ,
        "KILL_ONCE": str(tmp_path / "killed"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", RAY, *arguments],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "killed").exists()
    assert sha256_tree(tmp_path / "out") == reference


class TaskError(Exception):
    """Stand in for Ray's error of a task, which holds what was raised afar."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("a traceback of forty lines")
        self.cause = cause


class FakeRay(types.ModuleType):
    """Run tasks in this process, in another folder, on pickled arguments, as Ray would."""

    def __init__(self, folder: Path) -> None:
        super().__init__("ray")
        self.folder = folder
        self.exceptions = types.SimpleNamespace(RayTaskError=TaskError)

    def is_initialized(self) -> bool:
        return True

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **_: Any) -> Any:
        return lambda do: types.SimpleNamespace(remote=partial(FakeTask, self.folder, do))

    def wait(self, waiting: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return waiting[:num_returns], waiting[num_returns:]

    def get(self, task: FakeTask) -> Any:
        return task.run()


class FakeTask:
    """One call that waits."""

    def __init__(self, folder: Path, do: Any, *arguments: Any) -> None:
        self.folder, self.do, self.arguments = folder, do, pickle.dumps(arguments)

    def run(self) -> Any:
        with contextlib.chdir(self.folder):
            try:
                return self.do(*pickle.loads(self.arguments))
            except Exception as error:
                raise TaskError(error) from error


def test_tasks_on_ray_work_in_another_folder_and_raise_what_they_raised(
    made: tuple[list[Path], MineConfig],
    reference: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setitem(sys.modules, "ray", FakeRay(tmp_path / "elsewhere"))
    monkeypatch.chdir(made[0][0].parent)
    config = made[1].model_copy(update={"patterns": Path("patterns.yaml")})
    look = Look([], None, config, "key")
    tasks = plan([Path("corpus")], 500).tasks
    parts = run(tasks, look, tmp_path / "parts", "x", engine="ray")
    assert sum(part.rows.get("spans", 0) for part in parts) == 39 + 10 + 5
    lost = Look([], None, config.model_copy(update={"patterns": Path("no.yaml")}), "other")
    with pytest.raises(InputError, match="no such patterns file") as caught:
        run(tasks, lost, tmp_path / "more", "x", engine="ray")
    assert "traceback" not in str(caught.value)


@pytest.fixture(scope="module")
def three(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[Path], list[Path], MineConfig, dict[str, str]]:
    """Copies, patterns and harm in one corpus, and what one worker finds."""
    folder = tmp_path_factory.mktemp("three")
    work = next((HERE.parent / "sample_data" / "works").glob("*.txt")).read_text("utf-8")
    (folder / "corpus").mkdir()
    (folder / "work.txt").write_text(work[:20_000], "utf-8")
    insult = "You stupid worthless idiot, I hate you."
    kinds = (work[3000:3400], insult, "A secret.", "The committee met on Tuesday.")
    for name in ("a", "b"):
        rows = [{"text": f"Row {n}. {kinds[n % 4]}"} for n in range(32)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "corpus" / f"{name}.jsonl").write_text(lines, "utf-8")
    (folder / "patterns.yaml").write_text("- secret\n", "utf-8")
    config = MineConfig(
        detectors=("verbatim", "pattern", "harm"),
        patterns=folder / "patterns.yaml",
        harm_head=False,
        harm_categories=("toxicity",),
        task_mb=0.002,
    )
    corpus, works = [folder / "corpus"], [folder / "work.txt"]
    found = mine(corpus, folder / "out", works=works, config=config)
    assert set(found.counts) == {"verbatim", "pattern", "harm"}
    assert min(found.counts.values()) >= 16
    return corpus, works, config, sha256_tree(folder / "out")


@pytest.mark.parametrize("workers", [2, 4])
def test_all_detectors_in_one_pass_give_the_same_bytes_with_more_workers(
    three: tuple[list[Path], list[Path], MineConfig, dict[str, str]], tmp_path: Path, workers: int
) -> None:
    corpus, works, config, expected = three
    assert preview(corpus, config)["tasks"] > 4
    mine(corpus, tmp_path / "out", works=works, config=config, workers=workers)
    assert sha256_tree(tmp_path / "out") == expected


@pytest.mark.parametrize("nth", [1, 4, 9, 20])
def test_all_detectors_in_one_pass_give_the_same_bytes_after_a_kill(
    three: tuple[list[Path], list[Path], MineConfig, dict[str, str]], tmp_path: Path, nth: int
) -> None:
    corpus, works, config, expected = three
    faults = Faults(nth, "kill")
    with pytest.MonkeyPatch.context() as patch:
        faults.install(patch)
        with pytest.raises(Killed):
            mine(corpus, tmp_path / "out", works=works, config=config)
    mine(corpus, tmp_path / "out", works=works, config=config, workers=2)
    assert sha256_tree(tmp_path / "out") == expected
