"""Commands over cases: takedown, status, review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen, grid, paths

TAKEDOWN = """Process takedown requests, each in a case folder, from the corpus to the report.

The same command goes on where it stopped. Exit code 4: the thresholds were not met.

Examples:

  forgetkit takedown sample_data/request.yaml --case demo/case --auto-approve

  forgetkit takedown requests/a.yaml requests/b.yaml
"""
STATUS = """Show where cases stand, and how many days are left.

Examples:

  forgetkit status demo/case

  forgetkit status cases/* --json
"""
REVIEW = """Decide on the spans of a case: list them, accept, reject.

Examples:

  forgetkit review demo/case

  forgetkit review demo/case --accept-all --reviewer ana --reason "checked the list"
"""
NOT_ACCEPTED = 4


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("takedown", help=TAKEDOWN)(takedown)
    app.command("status", help=STATUS)(status)
    app.command("review", help=REVIEW)(review)


def takedown(
    requests: Annotated[list[Path], typer.Argument(help="request.yaml files.")],
    case: Annotated[
        Path | None, typer.Option("--case", help="Case folder; default: case-<digest of the id>.")
    ] = None,
    auto_approve: Annotated[
        bool, typer.Option("--auto-approve", help="Decide by the settings' rule, not by people.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The operator's settings, instead of the request's."),
    ] = None,
    seed: options.Seed = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Process takedown requests."""
    from forgetkit.errors import UsageError

    if case is not None and len(requests) > 1:
        raise UsageError("--case takes one request", mend="Leave it out for several.")
    screen = Screen(as_json=as_json, quiet=quiet)
    placed = [(request, case or _default_case(request)) for request in requests]
    if dry_run:
        for request, folder in placed:
            _plan(request, folder, config, seed, screen)
        return
    met = [_one(request, folder, auto_approve, config, seed, screen) for request, folder in placed]
    if not all(met):
        raise typer.Exit(NOT_ACCEPTED)


def _default_case(request: Path) -> Path:
    from forgetkit.files import sha256_bytes
    from forgetkit.takedown import load_request

    return Path(f"case-{sha256_bytes(load_request(request).id.encode())[:12]}")


def _plan(request: Path, case: Path, config: Path | None, seed: int | None, screen: Screen) -> None:
    from dataclasses import asdict

    from forgetkit.takedown import plan_takedown

    plan = plan_takedown(request, case, settings=config, seed=seed)
    output = Output(
        command="takedown",
        outputs={"case": str(case)},
        counts=plan.counts,
        entries=[asdict(stage) for stage in plan.stages],
    )
    rows = [
        (s.name, s.what, s.why, "" if s.seconds is None else f"{s.seconds:.0f}")
        for s in plan.stages
    ]
    screen.show(output, grid(("stage", "plan", "why", "seconds, about"), rows))


def _one(
    request: Path,
    case: Path,
    auto_approve: bool,
    config: Path | None,
    seed: int | None,
    screen: Screen,
) -> bool:
    from forgetkit.takedown import takedown as run
    from forgetkit_cli.models import metric_rows, metric_table

    with Bars(screen) as bars:
        done = run(
            request, case, auto_approve=auto_approve, settings=config, seed=seed, progress=bars
        )
    results = done.results
    output = Output(
        command="takedown",
        outputs={"case": str(done.case)} | paths(done.outputs),
        counts=dict(done.counts),
        metrics=metric_rows(results) if results else {},
        verdict=results.verdict if results else None,
        warnings=done.warnings,
    )
    if not screen.as_json:
        times = " · ".join(f"{name} {seconds:.0f} s" for name, seconds in done.seconds.items())
        screen.out.print(f"\nstages: {times}\n" if times else "")
    screen.show(output, metric_table(results) if results else None)
    if not screen.as_json:
        screen.out.print(f"\n{done.outcome}", markup=False)
    return results is None or results.verdict in (None, "pass")


def status(
    cases: Annotated[list[Path], typer.Argument(help="Case folders.")],
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show where cases stand."""
    from datetime import UTC, date, datetime

    from forgetkit.takedown.case import read_case

    rows, entries = [], []
    for folder in cases:
        content = read_case(folder)
        due = content.get("due_at")
        today = datetime.now(UTC).date()
        left = str((date.fromisoformat(due[:10]) - today).days) if due else "–"
        request, state, verdict = content["request"], content["state"], content.get("verdict")
        named = {"case": str(folder), "request": request, "state": state}
        entries.append({**named, "verdict": verdict, "due": due})
        rows.append((str(folder), request, state, verdict or "–", left))
    screen = Screen(as_json=as_json, quiet=quiet)
    table = grid(("case", "request", "state", "verdict", "days left"), rows)
    screen.show(Output(command="status", counts={"cases": len(rows)}, entries=entries), table)


def review(
    case: Annotated[Path, typer.Argument(help="Case folder.")],
    accept: Annotated[
        list[str] | None, typer.Option("--accept", help="Accept the span of this id.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option("--reject", help="Reject the span of this id.")
    ] = None,
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Accept all that are undecided.")
    ] = False,
    reviewer: Annotated[str, typer.Option("--reviewer", help="Who decides.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Decide on the spans of a case."""
    from forgetkit.review import decide, listing

    screen = Screen(as_json=as_json, quiet=quiet)
    if accept or reject or accept_all:
        made = decide(
            case,
            accept=accept or (),
            reject=reject or (),
            accept_all=accept_all,
            reviewer=reviewer,
            reason=reason,
        )
        counts: dict[str, int | float | str] = {
            "decided": len(made),
            "accepted": sum(d.accepted for d in made),
        }
        screen.show(Output(command="review", counts=counts))
        return
    spans = listing(case)
    header = ("span", "document", "place", "detector", "score", "work", "decision")
    rows = [tuple(str(value) for value in row.values()) for row in spans]
    output = Output(command="review", counts={"spans": len(spans)}, entries=spans)
    screen.show(output, grid(header, rows))
