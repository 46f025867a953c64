"""The command run: a published experiment with one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgetkit_cli import options
from forgetkit_cli.screen import Bars, Output, Screen

if TYPE_CHECKING:
    from forgetkit.recipes import RecipeResult

RUN = """Run a recipe: teach, build, unlearn with each method, evaluate, and write the table.

The same command goes on where it stopped; with more --seeds or --methods it adds to the table.

Examples:

  forgetkit run recipes/copyright.yaml

  forgetkit run recipes/harmful.yaml --size full --seeds 3 --methods yao,npo --out runs/harmful
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", help=RUN)(run)


def run(
    recipe: Annotated[Path, typer.Argument(help="YAML file; see recipes/.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; default: runs/NAME of the file.")
    ] = None,
    size: Annotated[str, typer.Option("--size", help="A size of the recipe.")] = "small",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each method.")] = 1,
    methods: Annotated[
        str | None, typer.Option("--methods", help="Rows of the recipe, with commas.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Another model than the recipe's.")
    ] = None,
    dry_run: options.DryRun = False,
    seed: options.Seed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Run a recipe and print its table."""
    from forgetkit.recipes import load_recipe, run_recipe

    screen = Screen(as_json=as_json, quiet=quiet)
    names = [name.strip() for name in (methods or "").split(",") if name.strip()]
    if dry_run:
        chosen = load_recipe(recipe).size(size)
        rows = chosen.rows(names)
        taught = bool(chosen.data.teach) + bool(chosen.data.teach_retain)
        counts = {"models to teach": taught, "unlearnings and evaluations": len(rows) * seeds}
        screen.show(Output(command="run", counts=counts))
        return
    with Bars(screen) as bars:
        done = run_recipe(
            recipe,
            out or Path("runs") / recipe.stem,
            size=size,
            seeds=seeds,
            seed=seed or 0,
            methods=names,
            model=model,
            progress=bars,
        )
    if not as_json:
        screen.out.print(done.table, markup=False)
    screen.show(_output(done))


def _output(done: RecipeResult) -> Output:
    tables = {f"table.{kind}": str(done.folder / f"table.{kind}") for kind in ("md", "json")}
    return Output(
        command="run",
        outputs=tables,
        counts={"rows": len(done.rows), "seeds": len(done.rows[-1].seconds)},
        entries=[
            {"name": row.name, "training_seconds": list(row.seconds)}
            | {name: [e.value for e in found] for name, found in row.values.items()}
            for row in done.rows
        ],
        warnings=list(done.warnings),
    )
