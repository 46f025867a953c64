"""Tasks on Ray (Moritz et al. 2018, arXiv:1712.05889); the only file that calls it.

Ray Core tasks with retries; everything meets in files that all machines see, so nothing of the
corpus goes through the object store and a killed worker costs the task it was at.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.engine.parts import Part
from forgetkit.engine.task import Task
from forgetkit.errors import ForgetkitError, UsageError

if TYPE_CHECKING:
    from forgetkit.engine.run import Work

RETRIES = 3


def run_on_ray(
    tasks: Sequence[Task], work: Work, folder: Path, identity: str, workers: int
) -> Iterator[tuple[int, Part]]:
    """Yield the parts of tasks as they come, each with the index of its task.

    Uses the cluster that `RAY_ADDRESS` names, else starts one here with `workers` CPUs.

    Raises:
        UsageError: Ray is not installed.
        ForgetkitError: what a task raised.
    """
    from forgetkit.engine.run import do

    with started(workers) as ray:
        task_on_ray = ray.remote(num_cpus=1, max_retries=RETRIES)(do)
        shared = ray.put(work)
        waiting = {
            task_on_ray.remote(_from_root(task), shared, folder.resolve(), identity): number
            for number, task in enumerate(tasks)
        }
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(ready[0]), _got(ray, ready[0])


def _from_root(task: Task) -> Task:
    """Return a task for a process in another folder: its files named from the root."""
    pieces = (replace(piece, path=piece.path.absolute()) for piece in task.pieces)
    return replace(task, pieces=tuple(pieces))


def _got(ray: Any, reference: Any) -> Part:
    """Return what a task gave, or raise what it raised, without the traceback from afar."""
    try:
        part: Part = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ForgetkitError):
            raise error.cause from None
        raise
    return part


@contextlib.contextmanager
def started(workers: int) -> Iterator[Any]:
    """Yield Ray, started unless it is; who started it shuts it down.

    Raises:
        UsageError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        mend = "pip install 'forgetkit[ray]'."
        raise UsageError("--engine ray needs Ray", mend=mend) from error
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of tasks after the first that fails
    ours = not ray.is_initialized()
    if ours:
        _start(ray, workers)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _start(ray: Any, workers: int) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
        )
