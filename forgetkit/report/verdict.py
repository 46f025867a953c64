"""The verdict in one sentence, and the caveats, each with its number where one was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgetkit.report.text import listed, metric_label, number, percent
from forgetkit.results import ABSENT, Estimate, Metric, Results

TITLES = {"pass": "Pass", "marginal": "Marginal", "fail": "Fail", None: "Not judged"}


@dataclass(frozen=True)
class Caveat:
    """A limit of the result: a few words, then what is known about it."""

    title: str
    text: str


def find(results: Results, name: str) -> Metric:
    """Return a metric by name; one without values when it was not measured."""
    for metric in results.metrics:
        if metric.name == name:
            return metric
    return Metric(name, "", "none")


def concerns_harm(results: Results) -> bool:
    """Say whether the forget set holds harmful answers (and not a text)."""
    return any(m.name.startswith("harmful_rate") for m in results.metrics)


def judgement(results: Results) -> str:
    """Return what the thresholds say, as a sentence."""
    judged = [m for m in results.metrics if m.verdict is not None]
    if not judged:
        return "No threshold was set, so nothing was judged."
    failed = _named(judged, "fail")
    if failed:
        verb = "is" if len(failed) == 1 else "are"
        return f"{len(failed)} of {len(judged)} thresholds {verb} not met: {listed(failed)}."
    marginal = _named(judged, "marginal")
    if marginal:
        return f"No threshold fails outright, but {listed(marginal)} fell short of passing."
    return f"All {len(judged)} thresholds fixed before the run are met."


def _named(metrics: Sequence[Metric], verdict: str) -> list[str]:
    names = [metric_label(m.name) for m in metrics if m.verdict == verdict]
    return [n[0].lower() + n[1:] for n in names]


def numbers_in_words(results: Results) -> str:
    """Return the effect in plain words, built from the measured numbers only."""
    clauses = _harm_clauses(results) if concerns_harm(results) else _text_clauses(results)
    utility = find(results, "utility").after
    if utility.value is not None:
        clauses.append(f"keeps {percent(utility.value)} of its quality on ordinary text")
    return f"The unlearned model {listed(clauses)}." if clauses else ""


def _text_clauses(results: Results) -> list[str]:
    pairs = [
        ("extraction_strength", "recites {} of the text on its own"),
        ("exact_memorization", "predicts {} of its tokens exactly"),
        ("leak_rate", "leaks it in {} of its continuations"),
    ]
    found = [(find(results, name), words) for name, words in pairs if _has(results, name)]
    return [_clause(metric, words, "never-trained text") for metric, words in found]


def _harm_clauses(results: Results) -> list[str]:
    pairs = [
        ("harmful_rate", "complies with {} of the harmful requests"),
        ("harmful_rate_unseen", "complies with {} of those it never trained on"),
    ]
    found = [(find(results, name), words) for name, words in pairs if _has(results, name)]
    return [_clause(metric, words, "control") for metric, words in found]


def _has(results: Results, name: str) -> bool:
    return find(results, name).after.value is not None


def _clause(metric: Metric, words: str, yardstick: str) -> str:
    said = words.format(percent(metric.after.value or 0.0))
    beside = [
        f"{role} {percent(estimate.value)}"
        for role, estimate in (("before", metric.before), (yardstick, metric.control))
        if estimate.value is not None
    ]
    return f"{said} ({', '.join(beside)})" if beside else said


def caveats(results: Results, context: Mapping[str, Any]) -> list[Caveat]:
    """Return the limits that every report prints, with numbers where measured."""
    harm = concerns_harm(results)
    subject = "behaviour" if harm else "text"
    return [
        Caveat("Suppression", _suppression(results, subject)),
        Caveat("Adapter", _adapter(results, subject, harm)),
        Caveat("Precision", _precision(results)),
        Caveat("Finding copies", _finding(context)),
        Caveat(
            "Other models", "Earlier releases, copies and models derived from it are unchanged."
        ),
        Caveat("Membership", _membership(results)),
        Caveat("Cost", _cost(results)),
        Caveat("Standing", "This is the operator's own measurement, and no legal advice."),
    ]


def _suppression(results: Results, subject: str) -> str:
    tests = sum(m.after.value is not None for m in results.metrics)
    relearn = _first(results, "relearn")
    tail = (
        f"After relearning on part of it, {number(relearn.value)} of the effect held."
        if relearn.value is not None
        else "Relearning, other prompts or sampling may bring it back; relearning was not tested."
    )
    if results.verdict != "pass":
        return f"Known is only what the {tests} tests listed show of the {subject}. {tail}"
    return f"The {subject} is suppressed under the {tests} tests listed, no more is known. {tail}"


def _adapter(results: Results, subject: str, harm: bool) -> str:
    name = "harmful_rate" if harm else "extraction_strength"
    measured = _first(results, "adapter_off")
    before = measured if measured.value is not None else find(results, name).before
    label = metric_label(name).lower()
    worth = f" ({label} {number(before.value)})" if before.value is not None else ""
    return (
        f"The base still holds the {subject}: it returns when the adapter is detached{worth}. "
        "Deliver merged weights."
    )


def _precision(results: Results) -> str:
    told = results.configuration.get("precision") or results.provenance.get("precision")
    at = f"Tested at {told}." if told else "Tested at the precision of this run only."
    quantized = _first(results, "quantize")
    if quantized.value is None:
        return f"{at} Quantised versions were not tested and can bring it back."
    return f"{at} After quantisation: {number(quantized.value)}."


def _finding(context: Mapping[str, Any]) -> str:
    spans = context.get("spans") or {}
    counts = [f"{spans[k]:,} {k}" for k in ("mined", "accepted", "clusters") if k in spans]
    recall = context.get("recall")
    measured = f"recall {number(recall)}" if recall is not None else "recall on it not measured"
    found = f" ({', '.join(counts)})" if counts else ""
    return (
        f"Only what was found in the corpus was used{found}; {measured}. Paraphrases may be missed."
    )


def _membership(results: Results) -> str:
    value = _first(results, "membership")
    told = "Not measured" if value.value is None else f"{number(value.value)} (n = {value.n})"
    return f"{told}. Such numbers are weak evidence in either direction."


def _cost(results: Results) -> str:
    utility = find(results, "utility").after
    if utility.value is None:
        why = f": {utility.reason}" if utility.reason else ""
        return f"The cost in utility is unknown{why}."
    change = utility.value - 1
    word = "lost" if change < 0 else "gained"
    spread = f", n = {utility.n}" if utility.n else ""
    return f"Utility is {number(utility.value)} of before ({percent(abs(change))} {word}{spread})."


def _first(results: Results, prefix: str) -> Estimate:
    for metric in results.metrics:
        if metric.name.startswith((prefix, f"attack_{prefix}")) and metric.after.value is not None:
            return metric.after
    return ABSENT
