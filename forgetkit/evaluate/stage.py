"""The room's verb: one pass over every split with each model, metrics, thresholds, verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__
from forgetkit.errors import UsageError
from forgetkit.evaluate.acceptance import accept
from forgetkit.evaluate.attacks import (
    AttackReport,
    Context,
    attack,
    attack_metrics,
    check_attacks,
)
from forgetkit.evaluate.benchmarks import with_mmlu
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import Judge, Opener, forget_alone, measure
from forgetkit.evaluate.metrics import compute
from forgetkit.evaluate.models import Models, opener, openers_of
from forgetkit.evaluate.names import check_names
from forgetkit.evaluate.opinions import add_fluency, add_labels, add_similarity
from forgetkit.evaluate.parts import Parts
from forgetkit.evaluate.plugin import CustomMetric, custom, load_plugin
from forgetkit.evaluate.record import command_of, record
from forgetkit.evaluate.sample import (
    AFTER,
    BEFORE,
    RETAIN_MODEL,
    Sample,
    add_rouge,
    write_samples,
)
from forgetkit.evaluate.served import explained, measure_served
from forgetkit.evaluate.tasks import measure_tasks, task_metrics
from forgetkit.files import claim_folder, digest_of, sha256_file, sha256_tree
from forgetkit.forget_set import ForgetSet, read_forget_set
from forgetkit.lm.endpoint import Endpoint
from forgetkit.progress import Progress, Silent
from forgetkit.results import Alike, Results, load_results

if TYPE_CHECKING:
    from forgetkit.lm.common import CommonLayers
    from forgetkit.lm.load import LanguageModel


_OF_OTHERS = (
    "acceptance",
    "attacks",
    "seed",
    "bootstrap",
    "tasks",
    "task_limit",
    "task_folder",
)
"""Settings that change nothing of what the models before and of retain say."""


@dataclass(frozen=True)
class EvaluateResult:
    """What `evaluate` wrote.

    Attributes:
        folder: holds `results.json` and `samples.parquet`.
        results: the content of `results.json`.
        seconds: wall time; 0 when the same results were already there.
    """

    folder: Path
    results: Results
    seconds: float


def evaluate(
    model: str,
    forget_set: Path,
    out: Path,
    *,
    adapter: Path | None = None,
    before: str | None = None,
    retain_model: str | None = None,
    endpoint: str | None = None,
    plugin: Path | None = None,
    shared: Path | None = None,
    attacks_only: bool = False,
    config: EvaluateConfig | None = None,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Measure forgetting, utility and language of a model, and judge them.

    An evaluation that was interrupted goes on with the splits it had not measured, with other
    thresholds too; those of a complete one stay as they are.

    Args:
        model: the unlearned model; with `adapter`, the target model that the adapter is put on.
        forget_set: what `build` wrote.
        out: the output folder.
        adapter: an adapter on `model`; then before is the same model without it.
        before: the target model. Without it and without an adapter only thresholds that
            `acceptance` names are judged.
        retain_model: a model trained without the forget set; it is the control then.
        endpoint: address of an OpenAI-compatible server on this machine that answers instead of
            `model`, its name there (empty: the first it lists); what needs likelihoods is null.
        plugin: a file with metrics of one's own; see `forgetkit.evaluate.plugin`.
        shared: a folder in which what the model before and the retain model say is kept, for other
            evaluations of the same set with the same settings; it is read from there when it is
            there.
        attacks_only: measure only the forget split and the attacks, and judge only these.
        config: settings and thresholds.
        progress: told of each pass.

    Raises:
        InputError: a model, the set, a plugin or a threshold cannot be used.
        UsageError: an endpoint was given together with an adapter or attacks, or weights in 8 or 4
            bits together with attacks that need others.
    """
    config, progress = config or EvaluateConfig(), progress or Silent()
    started = time.monotonic()
    models = Models(model, adapter, before, retain_model, endpoint)
    content, own = checked(models, forget_set, plugin, config)
    read = content
    if attacks_only:
        config, read = config.attacks_alone(content.kind), forget_alone(content)
    identity = identity_of(models, forget_set, config)
    if attacks_only:
        identity["splits"] = "forget"
    measured = _digest_of_measured(identity)  # a plugin reads what was measured; it may be mended
    identity |= digest_of_plugin(plugin)
    if claim_folder(out, "results.json", identity):
        return EvaluateResult(out, load_results(out / "results.json"), 0.0)
    parts = Parts(out, measured)
    stores = {AFTER: parts}
    for role in (BEFORE, RETAIN_MODEL):
        digest = _digest_of_other(role, identity)
        stores[role] = parts if shared is None else Parts(shared, digest)
    samples = _samples(models, read, config, progress, stores)
    tasks = measure_tasks(openers_of(models, config), config, progress, parts)
    reports = _attacked(models, content, samples, config, progress, parts)
    metrics = compute(samples, content.kind, config)
    metrics += attack_metrics(reports, config, metrics)
    metrics = with_mmlu(metrics + task_metrics(tasks))
    if endpoint:
        metrics = explained(metrics)
    metrics += custom(own, samples, config, metrics)
    metrics = accept(metrics, config.rules(content.kind, has_before=models.target is not None))
    command = command_of(
        models.flags() | {"forget-set": forget_set, "plugin": plugin},
        config,
        "attack" if attacks_only else "evaluate",
    )
    named = models.named(identity)
    results = record(metrics, samples, content.kind, identity, config, named, command)
    notes = ["Only the forget split and the attacks were measured."] if attacks_only else []
    results = replace(
        results,
        notes=(*notes, *results.notes),
        attacks=[report.content() for report in reports],
        tasks=tasks,
        control=[Alike.of(row) for row in content.manifest.get("control") or []],
    )
    write_samples(out / "samples.parquet", samples)
    results.save(out / "results.json")
    parts.clear()
    return EvaluateResult(out, results, time.monotonic() - started)


def checked(
    models: Models, forget_set: Path, plugin: Path | None, config: EvaluateConfig
) -> tuple[ForgetSet, list[CustomMetric]]:
    """Return the set and the metrics of a plugin, once all is checked that needs no model.

    Raises:
        InputError, UsageError: as of `evaluate`.
    """
    if models.endpoint and (models.adapter or config.attacks or config.tasks):
        raise UsageError("an endpoint takes no adapter, attacks or tasks", mend="Give the weights.")
    check_attacks(config, with_adapter=models.adapter is not None)
    content, own = read_forget_set(forget_set), load_plugin(plugin) if plugin else []
    check_names(config, content, own)
    return content, own


def digest_of_plugin(plugin: Path | None) -> dict[str, str]:
    """Return what a plugin adds to the identity of an evaluation."""
    return {"plugin_sha256": sha256_file(plugin)} if plugin else {}


def identity_of(models: Models, forget_set: Path, config: EvaluateConfig) -> dict[str, Any]:
    """Return what makes two evaluations the same, but for a plugin."""
    from forgetkit.lm.load import model_identity

    others = {"retain_model": model_identity(models.retain_model)} if models.retain_model else {}
    if models.endpoint:
        others["endpoint"] = models.endpoint
    return others | {
        "model": models.after if models.endpoint else model_identity(models.after),
        "before": model_identity(models.before) if models.before else "",
        "adapter": sha256_tree(models.adapter) if models.adapter else {},
        "forget_set_sha256": sha256_file(forget_set / "manifest.json"),
        "configuration": config.model_dump(),
        "version": __version__,
    }


def _digest_of_measured(identity: Mapping[str, Any]) -> str:
    """Return the digest of all that decides what is measured: thresholds do not."""
    settings = {k: v for k, v in identity["configuration"].items() if k != "acceptance"}
    return digest_of(dict(identity) | {"configuration": settings})


def _digest_of_other(role: str, identity: Mapping[str, Any]) -> str:
    """Return the digest of all that decides what a model that others share is found to say."""
    settings = dict(identity["configuration"])
    for name in _OF_OTHERS:
        del settings[name]
    model = identity["before"] or identity["model"] if role == BEFORE else identity.get(role)
    kept = {role: model, "configuration": settings}
    named = ("forget_set_sha256", "version", "splits")
    return digest_of(kept | {key: identity[key] for key in named if key in identity})


def _samples(
    models: Models,
    content: ForgetSet,
    config: EvaluateConfig,
    progress: Progress,
    stores: Mapping[str, Parts],
) -> list[Sample]:
    openers = openers_of(models, config)
    base = openers[BEFORE]
    samples: list[Sample] = []
    common = _common(base, openers[AFTER])
    for role, load in openers.items():
        if load is not None:
            # Where before was read by another evaluation, there is nothing to go on from.
            after = None if common is None or common.is_empty else common
            layers = {BEFORE: common, AFTER: after}.get(role)
            samples += measure(load, content, role, config, progress, stores[role], layers)
    if models.endpoint:
        served = Endpoint(models.endpoint, models.after)
        samples += measure_served(served, content, config, progress, stores[AFTER])
    if base is not None:
        add_fluency(base(), samples, config, progress)
    add_rouge(samples)
    if content.kind == "pair":
        add_labels(samples, _judge(), progress)
    if config.similarity or content.kind == "fact":
        from forgetkit.embed import open_embedder

        add_similarity(samples, open_embedder(), progress)
    return samples


def _common(before: Opener | None, after: Opener | None) -> CommonLayers | None:
    if before is None or after is None:
        return None
    from forgetkit.lm.common import CommonLayers
    from forgetkit.lm.layers import layers_in_common

    return CommonLayers(lambda: layers_in_common(before().model, after().model))


def _attacked(
    models: Models,
    content: ForgetSet,
    samples: Sequence[Sample],
    config: EvaluateConfig,
    progress: Progress,
    parts: Parts,
) -> list[AttackReport]:
    def merged(name: str, adapter: Path | None) -> LanguageModel:
        from forgetkit.lm.adapter import merge_adapter

        loaded = opener(name, adapter, config)()
        return merge_adapter(loaded) if adapter else loaded

    retain = models.retain_model
    context = Context(
        after=lambda: merged(models.after, models.adapter),
        retain_model=(lambda: merged(retain, None)) if retain else None,
        forget_set=content,
        samples=samples,
        config=config,
        progress=progress,
        judge=_judge,
        has_adapter=models.adapter is not None,
        base=_base(models, config),
    )
    reports = []
    for name in config.attacks:
        report = parts.load_report(f"attack-{name}") or attack(name, context)
        parts.save_report(report, f"attack-{name}")
        reports.append(report)
    return reports


def _base(models: Models, config: EvaluateConfig) -> Opener | None:
    """Return a loader of the model under the adapter, where it is not the model before."""
    if models.adapter is None or models.target == models.after:
        return None
    return opener(models.after, None, config)


def _judge() -> Judge:
    from forgetkit.classify.judge import open_judge
    from forgetkit.embed import open_embedder

    judge = open_judge(open_embedder().encode)

    def labels(prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
        return [verdict.label for verdict in judge.judge(prompts, answers)]

    return labels
