"""The `forgetkit` command: the list of commands, and what every error becomes."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from pathlib import Path

import typer

from forgetkit import __version__
from forgetkit.errors import ForgetkitError
from forgetkit_cli import (
    about,
    attacks,
    cases,
    corpora,
    duplicates,
    evaluation,
    filters,
    indexes,
    models,
    recipes,
    redaction,
    sets,
)

BUG = 1
INTERRUPTED = 130
STORAGE = 5

app = typer.Typer(
    name="forgetkit",
    help="Take a takedown from the request to the evidence: mine, dedupe, build, unlearn, "
    "evaluate, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cases.register(app)
corpora.register(app)
duplicates.register(app)
indexes.register(app)
filters.register(app)
redaction.register(app)
sets.register(app)
models.register(app)
evaluation.register(app)
attacks.register(app)
recipes.register(app)
about.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"forgetkit {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Take a takedown from the request to the evidence."""


def main() -> None:
    """Run the command line and exit with one of the codes of `forgetkit.errors`."""
    debug = "--debug" in sys.argv
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    # Threads that spin for long bring two processes on the same cores to a standstill; threads
    # that never spin train a third slower on a quiet machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # What libraries make while they are imported stays; looking for what does not took a seventh
    # of that time.
    gc.set_threshold(20_000, 10, 10)
    if not debug:
        import warnings

        warnings.simplefilter("ignore")
    try:
        app()
    except ForgetkitError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"forgetkit: {one_line(error)}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("forgetkit: interrupted. Run the same command again to go on.\n")
        sys.exit(INTERRUPTED)
    except OSError as error:
        if debug:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"forgetkit: {one_line(f'{where}{error.strerror or error}')}\n")
        sys.exit(STORAGE)
    except Exception as error:  # noqa: BLE001 - whatever is left is our fault, and said so
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"forgetkit: {bug(error)}\n")
        sys.exit(BUG)


def one_line(message: object) -> str:
    """Return an error's message on one line, without control characters."""
    from forgetkit_cli.screen import safe

    return safe(" ".join(str(message).split()))


def bug(error: Exception) -> str:
    """Say that an error is our fault: its kind and place, never its text, which may be protected.

    >>> bug(KeyError("secret"))
    'a bug: KeyError. Run again with --debug for the traceback, and report it.'
    """
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    kind = type(error).__name__
    return f"a bug: {kind}{where}. Run again with --debug for the traceback, and report it."
