"""Tasks of lm-evaluation-harness (Gao et al. 2024); the only file that calls `lm_eval`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel

BATCH = 8
Score = dict[str, Any]


def check_tasks(tasks: Sequence[str], folder: str = "") -> Any:
    """Return the harness's list of tasks once all of these are on it.

    Raises:
        UsageError: lm-eval is not installed, or a task is unknown.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise UsageError(
            "--tasks needs lm-evaluation-harness", mend="pip install 'forgetkit[lm-eval]'"
        ) from error
    manager = TaskManager(include_path=folder or None)
    unknown = [name for name in tasks if name not in manager.all_tasks]
    if unknown:
        raise UsageError(
            f"unknown task '{unknown[0]}'", mend="`lm_eval ls tasks` lists them; see task_folder."
        )
    return manager


def run_tasks(
    language_model: LanguageModel,
    tasks: Sequence[str],
    *,
    limit: int | None = None,
    folder: str = "",
) -> list[Score]:
    """Run tasks on a model, without few-shot examples beyond what a task names itself.

    Args:
        language_model: the model; an adapter on it stays on.
        tasks: names of tasks or groups.
        limit: most documents of a task; None: all.
        folder: a folder with tasks of one's own (YAML), besides the harness's.

    Returns:
        One row a task and measure: `task`, `measure`, `value`, `error` (standard error or None),
        `n`, `better` and the task's `version`.

    Raises:
        UsageError: lm-eval is not installed, or a task is unknown.
        InputError: the data of a task cannot be had.
    """
    manager = check_tasks(tasks, folder)
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    wrapped = HFLM(
        pretrained=language_model.model, tokenizer=language_model.tokenizer, batch_size=BATCH
    )
    try:
        found = simple_evaluate(
            model=wrapped,
            tasks=list(tasks),
            limit=limit,
            task_manager=manager,
            bootstrap_iters=0,
            log_samples=False,
        )
    except (OSError, ValueError) as error:
        raise InputError("a task cannot be run", found=str(error)[:200]) from error
    return list(_scores(found))


def _scores(found: Any) -> Iterator[Score]:
    """Yield the rows of what the harness returns; measures are named `acc,none` there."""
    for task, values in found["results"].items():
        counted = found.get("n-samples", {}).get(task, {})
        ranks = found.get("higher_is_better", {}).get(task, {})
        for name, value in values.items():
            measure, _, _ = name.partition(",")
            if "," not in name or measure.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = values.get(name.replace(measure, f"{measure}_stderr", 1))
            yield {
                "task": task,
                "measure": measure,
                "value": float(value),
                "error": float(error) if isinstance(error, int | float) else None,
                "n": int(counted.get("effective", 0)),
                "better": "lower" if ranks.get(measure) is False else "higher",
                "version": str(found.get("versions", {}).get(task, "")),
            }
