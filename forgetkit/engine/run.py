"""Run tasks: one after the other, in threads, in processes, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from forgetkit.engine.parts import Output, Part, once
from forgetkit.engine.task import Task
from forgetkit.errors import UsageError, nearest
from forgetkit.progress import Progress, Silent

ENGINES = ("local", "ray")
MEGABYTE = 10**6


class Work(Protocol):
    """What is done with a task; it can be pickled, and gives the same wherever it runs."""

    @property
    def in_threads(self) -> bool:
        """Say whether it spends its time outside Python's lock, so that threads help."""

    def __call__(self, task: Task) -> Output:
        """Return what the task gives, from its pieces alone."""


def run(
    tasks: Sequence[Task],
    work: Work,
    folder: Path,
    identity: str,
    *,
    workers: int = 1,
    engine: str = "local",
    progress: Progress | None = None,
) -> list[Part]:
    """Do the tasks that have no receipt yet, and return the parts of all in order.

    Args:
        tasks: what to do.
        work: how.
        folder: where the parts are written; kept between runs that shall go on from each other.
        identity: digest of everything but the corpus that the parts depend on.
        workers: threads, processes, or CPUs of a local Ray.
        engine: local or ray.
        progress: who watches; sees megabytes of files.

    Raises:
        UsageError: an unknown engine.
        ForgetkitError: what a task raised; parts that are written stay.
    """
    if engine not in ENGINES:
        raise UsageError(f"unknown engine '{engine}'", mend=nearest(engine, ENGINES))
    meter = _Meter(progress or Silent(), sum(task.size for task in tasks))
    parts: dict[int, Part] = {}
    for number, part in _done(tasks, work, folder, identity, workers, engine):
        parts[number] = part
        meter.add(tasks[number].size, part)
    return [parts[number] for number in range(len(tasks))]


@contextlib.contextmanager
def engine_of(engine: str, workers: int) -> Iterator[None]:
    """Keep an engine up over several calls of `run`.

    Raises:
        UsageError: an unknown engine, or Ray is not installed.
    """
    if engine not in ENGINES:
        raise UsageError(f"unknown engine '{engine}'", mend=nearest(engine, ENGINES))
    if engine == "local":
        yield
        return
    from forgetkit.engine.cluster import started

    with started(workers):
        yield


def _done(
    tasks: Sequence[Task], work: Work, folder: Path, identity: str, workers: int, engine: str
) -> Iterator[tuple[int, Part]]:
    """Yield the parts as they come, each with the index of its task."""
    if engine == "ray":
        from forgetkit.engine.cluster import run_on_ray

        yield from run_on_ray(tasks, work, folder, identity, workers)
        return
    if workers == 1 or len(tasks) == 1:
        for number, task in enumerate(tasks):
            yield number, do(task, work, folder, identity)
        return
    with _executor(work, workers) as executor:
        futures = {
            executor.submit(do, task, work, folder, identity): number
            for number, task in enumerate(tasks)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _executor(work: Work, workers: int) -> Executor:
    if work.in_threads:
        return ThreadPoolExecutor(workers, thread_name_prefix="forgetkit")
    import multiprocessing

    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def do(task: Task, work: Work, folder: Path, identity: str) -> Part:
    """Do one task unless it is done."""
    return once(folder, task.key(identity), lambda: work(task))


@dataclass
class _Meter:
    """Tell how fast it goes and how long it will take."""

    progress: Progress
    total: int
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    spans: int = 0

    def __post_init__(self) -> None:
        self.progress.stage("reading the corpus (MB)", -(-self.total // MEGABYTE))

    def add(self, size: int, part: Part) -> None:
        """Count a part that is done."""
        before = self.done // MEGABYTE
        self.done += size
        self.spans += part.rows.get("spans", 0)
        if self.done // MEGABYTE > before:
            self.progress.advance(self.done // MEGABYTE - before)
        seconds = max(time.monotonic() - self.began, 1e-3)
        rate = self.done / MEGABYTE / seconds
        left = (self.total - self.done) / MEGABYTE / max(rate, 1e-6)
        self.progress.note(
            f"{rate:.0f} MB/s · {self.spans} spans · {int(left) // 60}:{int(left) % 60:02} left"
        )
