"""What `evaluate` would do: all is checked but the weights, and nothing is written."""

from __future__ import annotations

from pathlib import Path

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import GENERATED, splits_to_read
from forgetkit.evaluate.models import Models
from forgetkit.evaluate.names import metrics_of
from forgetkit.evaluate.pool import identity_of_seeds, models_of_seed, seeds_of
from forgetkit.evaluate.stage import checked, digest_of_plugin, identity_of
from forgetkit.files import check_space, folder_state
from forgetkit.forget_set import ForgetSet
from forgetkit.lm.endpoint import Endpoint
from forgetkit.plan import WORDS, Plan


def plan_evaluate(
    models: Models,
    forget_set: Path,
    out: Path,
    *,
    runs: Path | None = None,
    plugin: Path | None = None,
    config: EvaluateConfig | None = None,
) -> Plan:
    """Say what `evaluate`, or `evaluate_seeds`, would do.

    Args:
        models: to be compared; with `runs`, the target model is `after`.
        forget_set: as of `evaluate`.
        out: as of `evaluate`.
        runs: as of `evaluate_seeds`.
        plugin: as of `evaluate`.
        config: as of `evaluate`.

    Raises:
        UsageError, InputError, StorageError: as the run would, as far as that shows without the
            weights.
    """
    config = config or EvaluateConfig()
    numbers = seeds_of(runs) if runs else []
    retain = models.retain_model
    each = [models_of_seed(models.after, runs, n, retain) for n in numbers] if runs else [models]
    content, own = checked(each[0], forget_set, plugin, config)
    if runs is None:
        state = folder_state(
            out,
            "results.json",
            lambda: identity_of(models, forget_set, config) | digest_of_plugin(plugin),
        )
    else:
        given = models.after, forget_set, runs, retain, plugin, config
        state = folder_state(out, "results.json", lambda: identity_of_seeds(*given))
    for one in each:
        _check_models(one, config)
    if config.tasks:
        from forgetkit.lm.harness import check_tasks

        check_tasks(config.tasks, config.task_folder)
    check_space(out, 0)
    counts: dict[str, int | float | str] = {"seeds": len(numbers)} if runs else {}
    counts |= _work(each[0], content, config, max(len(numbers), 1))
    rules = config.rules(content.kind, has_before=each[0].target is not None)
    known = len(metrics_of(config, content, own))
    counts |= {"metrics, but for tasks": known, "thresholds, at most": len(rules)}
    return Plan(WORDS[state], counts)


def _check_models(models: Models, config: EvaluateConfig) -> None:
    """Check that every model can be opened, but for its weights."""
    from forgetkit.lm.adapter import check_adapter_folder
    from forgetkit.lm.load import load_outline

    if models.endpoint:
        Endpoint(models.endpoint, models.after)
    named = (None if models.endpoint else models.after, models.before, models.retain_model)
    for name in dict.fromkeys(name for name in named if name is not None):
        load_outline(name, dtype=config.dtype)
    if models.adapter is not None:
        check_adapter_folder(models.adapter)


def _work(
    models: Models, content: ForgetSet, config: EvaluateConfig, seeds: int
) -> dict[str, int | float | str]:
    """Return how many rows are read and continued, by all models together, and what is run.

    What the model before says is read once for all seeds, and a retain model continues no retain
    prompt.
    """
    splits = {name: len(rows) for name, rows in splits_to_read(content).items()}
    spoken = {name: size for name, size in splits.items() if name in GENERATED}
    has_before, has_retain = models.target is not None, models.retain_model is not None
    reading = seeds * (not models.endpoint) + has_before + seeds * has_retain
    continued = (seeds + has_before + seeds * has_retain) * sum(spoken.values())
    continued -= seeds * has_retain * spoken.get("retain", 0)
    found: dict[str, int | float | str] = {f"rows of {name}": n for name, n in splits.items()}
    found |= {
        "models": seeds + has_before + has_retain,
        "rows to read": reading * sum(splits.values()),
        "prompts to continue": continued,
    }
    found |= {"attacks": ", ".join(config.attacks)} if config.attacks else {}
    found |= {"tasks": ", ".join(config.tasks)} if config.tasks else {}
    return found
