"""The page: results in, one self-contained HTML file out.

No script, no external reference, at most 1 MB, the same bytes for the same input. Protected text
is shown as its length only, unless the caller asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetkit.errors import InputError
from forgetkit.files import read_json, write_text
from forgetkit.report import attacks, charts, examples, holdout, roc, verdict
from forgetkit.report.text import interval, metric_label, number, visible
from forgetkit.results import Metric, Results, load_results

_PLAIN = (str, int, float, bool)


def report(
    results_folder: Path,
    out: Path,
    *,
    include_text: bool = False,
    context: Mapping[str, Any] | None = None,
    run: Path | None = None,
) -> Path:
    """Write the report of an evaluation and return its path.

    Args:
        results_folder: holds `results.json`.
        out: the HTML file to write; mode 0600 when it holds text.
        include_text: show prompts, answers and completions; otherwise only their lengths.
        context: what the case knows: `request` (id, type), `parties` and `works` (lists),
            `spans` (mined, accepted, clusters), `recall`, `detectors`, `timings` (stage: seconds).
        run: the `run.json` of the unlearning; by default the one in the folder, when there is one.

    Raises:
        InputError: `results.json` or `run.json` is missing or is none.
    """
    results = load_results(results_folder / "results.json")
    given = run is not None
    history = _run(run or results_folder / "run.json", needed=given)
    html = _page(results, history, dict(context or {}), include_text)
    write_text(out, html, private=include_text)
    return out


def _run(path: Path, *, needed: bool) -> dict[str, Any]:
    if not needed and not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError("is no run of unlearn", where=str(path), mend="Run `forgetkit unlearn`.")
    return content


def _page(
    results: Results, run: Mapping[str, Any], context: Mapping[str, Any], include_text: bool
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("forgetkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.globals.update(number=number, interval=interval, metric_label=metric_label)
    return environment.get_template("report.html").render(
        title=_title(context),
        about=_about(results, run, context),
        verdict=results.verdict or "none",
        verdict_title=verdict.TITLES[results.verdict],
        judgement=verdict.judgement(results),
        effect=verdict.numbers_in_words(results),
        key_metrics=_key_metrics(results),
        caveats=verdict.caveats(results, context),
        metrics=results.metrics,
        pictures=_pictures(results),
        holdout=holdout.compared(results.control),
        training=charts.training(run.get("history") or [], run.get("best_step")),
        attacks=attacks.tables(results.attacks),
        attack_curves=attacks.curves(results.attacks),
        examples=examples.worst(results.pairs, include_text=include_text),
        include_text=include_text,
        provenance=_provenance(results, run),
        timings=_timings(context.get("timings") or {}),
        command=_command(results),
        settings=_settings(results, run),
        notes=list(results.notes),
    )


def _shown(value: Any) -> Any:
    """Make hidden characters visible in every plain string; markup of the template passes."""
    return visible(value, 20_000) if type(value) is str else value


def _title(context: Mapping[str, Any]) -> str:
    works = [_name(work) for work in context.get("works") or []]
    if works:
        return visible(", ".join(works), 120)
    return visible(str((context.get("request") or {}).get("id") or "Unlearning report"), 120)


def _name(thing: Any) -> str:
    if not isinstance(thing, Mapping):
        return str(thing)
    words = [thing.get("title") or thing.get("name") or thing.get("id") or "", thing.get("role")]
    return " · ".join(str(word) for word in words if word)


def _about(
    results: Results, run: Mapping[str, Any], context: Mapping[str, Any]
) -> list[tuple[str, str]]:
    request = context.get("request") or {}
    model = results.models.get("before") or {}
    facts = [
        ("Request", " · ".join(str(request[k]) for k in ("id", "type") if request.get(k))),
        ("Parties", "; ".join(_name(party) for party in context.get("parties") or [])),
        ("Model", str(model.get("name", ""))),
        ("Method", str(run.get("method") or "")),
        ("Found by", ", ".join(str(d) for d in context.get("detectors") or [])),
        ("Spans", _counts(context.get("spans") or {})),
    ]
    return [(name, visible(value, 200)) for name, value in facts if value]


def _counts(spans: Mapping[str, Any]) -> str:
    return ", ".join(f"{spans[k]} {k}" for k in ("mined", "accepted", "clusters") if k in spans)


def _key_metrics(results: Results) -> list[Metric]:
    """Return at most four metrics to show large: the judged ones first, as ordered."""
    shown = [m for m in results.metrics if m.after.value is not None and m.verdict is not None]
    return shown[:4]


def _pictures(results: Results) -> list[charts.Picture]:
    harm = verdict.concerns_harm(results)
    names = ["harmful_rate"] if harm else ["exact_memorization", "extraction_strength"]
    drawn = [charts.tradeoff(results, name) for name in names]
    drawn += [charts.leaks(results), charts.bars(results)]
    if harm:
        drawn += [examples.outcomes(results.pairs)]
    else:
        drawn += [examples.slopes(results.pairs), examples.losses(results.pairs)]
    drawn += [roc.roc(results.pairs)]
    return [picture for picture in drawn if picture]


def _provenance(results: Results, run: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (f"model {role}", "  ".join(str(value) for _, value in sorted(model.items())))
        for role, model in sorted(results.models.items())
    ]
    rows += _flat({k: v for k, v in results.provenance.items() if k != "command"})
    if run.get("seconds") is not None:
        rows.append(("unlearning, seconds", number(float(run["seconds"]))))
    return rows


def _timings(timings: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(f"{stage}, seconds", number(float(took))) for stage, took in timings.items()]


def _flat(value: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key in sorted(value):
        item, name = value[key], f"{above}{key}"
        if isinstance(item, Mapping):
            rows += _flat(item, f"{name} · ")
        else:
            rows.append((name, str(item) if isinstance(item, _PLAIN) else json.dumps(item)))
    return rows


def _command(results: Results) -> str:
    command = results.provenance.get("command") or ""
    return " ".join(map(str, command)) if isinstance(command, list | tuple) else str(command)


def _settings(results: Results, run: Mapping[str, Any]) -> str:
    settings = {"evaluate": results.configuration, "unlearn": run.get("configuration")}
    present = {key: item for key, item in settings.items() if item}
    return json.dumps(present, indent=2, sort_keys=True, ensure_ascii=False) if present else ""
