"""The command attack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgetkit_cli import options
from forgetkit_cli.evaluation import show_results
from forgetkit_cli.screen import Bars, Screen

ATTACK = """Try to get back what a model was made to forget, and judge the attempts.

The same attacks as of `evaluate --attacks`, without the rest of the evaluation; its settings are
those of `evaluate`.

Examples:

  forgetkit attack all --model unlearned/model --before demo/target
    --forget-set forget_set --out attacked

  forgetkit attack quantize relearn --model demo/target --adapter unlearned/adapter
    --forget-set forget_set --out attacked

  forgetkit attack sampling --model unlearned/model --before demo/target
    --forget-set forget_set --set leak_samples=64 --set leak_k=32 --out attacked
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("attack", help=ATTACK)(attack)


def attack(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", help="all, or some of relearn, quantize, prompts, sampling, detach."
        ),
    ],
    model: Annotated[str, typer.Option("--model", help="Unlearned model, or base of --adapter.")],
    forget_set: Annotated[Path, typer.Option("--forget-set", help="Folder that build wrote.")],
    out: options.Out,
    adapter: options.Adapter = None,
    before: options.Before = None,
    retain_model: options.RetainModel = None,
    settings: options.Settings = None,
    config: options.Config = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Try to get back what was forgotten; exit 4 when the thresholds are not met."""
    from forgetkit.config import resolve
    from forgetkit.evaluate import EvaluateConfig, evaluate
    from forgetkit.evaluate.attacks import chosen_attacks

    screen = Screen(as_json=as_json, quiet=quiet)
    flags = options.given(settings, seed=seed, attacks=list(chosen_attacks(",".join(names))))
    chosen = resolve(EvaluateConfig, "evaluate", flags, config)
    with Bars(screen) as bars:
        done = evaluate(
            model,
            forget_set,
            out,
            adapter=adapter,
            before=before,
            retain_model=retain_model,
            attacks_only=True,
            config=chosen,
            progress=bars,
        )
    show_results(screen, "attack", done.folder, done.results)
