"""Several seeds of one run: is the number the method's, or luck?"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetkit import __version__, schema
from forgetkit.errors import UsageError
from forgetkit.files import claim_folder, write_json
from forgetkit.lm.ranks import own_rank
from forgetkit.progress import Progress
from forgetkit.unlearn.config import UnlearnConfig
from forgetkit.unlearn.stage import UnlearnResult, identity_of, unlearn

VALUES = ("extraction_strength", "exact_memorization", "control", "utility")
MARKER = "seeds.json"


@dataclass(frozen=True)
class SeedsResult:
    """What `unlearn_seeds` wrote.

    Attributes:
        runs: one result a seed, each in a folder of its own.
        values: by name of what the validation slice said at the best step: mean, standard
            deviation (of a sample, n - 1) and the values themselves.
    """

    runs: Sequence[UnlearnResult]
    values: Mapping[str, Mapping[str, Any]]


def unlearn_seeds(
    model: str,
    forget_set: Path,
    out: Path,
    seeds: int,
    *,
    config: UnlearnConfig | None = None,
    progress: Progress | None = None,
) -> SeedsResult:
    """Run `unlearn` with several seeds, and write `seeds.json` with mean and deviation.

    The runs lie in `seed-N/`, N counting from `config.seed`; a killed one goes on where it was.

    Args:
        model: as of `unlearn`.
        forget_set: as of `unlearn`.
        out: folder of the runs.
        seeds: how many, at least 2.
        config: settings of the run.
        progress: told of each run.

    Raises:
        UsageError: fewer than two seeds.
    """
    if seeds < 2:
        raise UsageError("one seed says nothing about luck", mend="Give --seeds 2 or more.")
    config = config or UnlearnConfig()
    identity = identity_of_seeds(model, forget_set, seeds, config)
    if own_rank() == 0:
        claim_folder(out, MARKER, identity)
    numbers = range(config.seed, config.seed + seeds)
    runs = [
        unlearn(
            model,
            forget_set,
            out / f"seed-{number}",
            config=config.model_copy(update={"seed": number}),
            progress=progress,
        )
        for number in numbers
    ]
    values = {name: spread([_best(run.run, name) for run in runs]) for name in VALUES}
    content = identity | {
        "schema": schema.RUN,
        "version": __version__,
        "seed_numbers": list(numbers),
        "values": values,
    }
    if own_rank() == 0:
        write_json(out / MARKER, content)
    return SeedsResult(runs, values)


def identity_of_seeds(
    model: str, forget_set: Path, seeds: int, config: UnlearnConfig
) -> dict[str, Any]:
    """Return what makes two runs of several seeds the same."""
    return identity_of(model, forget_set, config) | {"seeds": seeds}


def _best(run: Mapping[str, Any], name: str) -> float | None:
    """Return what the look at the best step said; None without looks."""
    rows = [row for row in run["history"] if row["step"] == run["best_step"] and name in row]
    return float(rows[-1][name]) if rows else None


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, standard deviation and the values; None where a value is missing.

    >>> spread([1.0, 3.0])
    {'mean': 2.0, 'sd': 1.4142, 'values': [1.0, 3.0]}
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len(known) < 2:
        return {"mean": None, "sd": None, "values": list(values)}
    mean, deviation = statistics.fmean(known), statistics.stdev(known)
    return {"mean": round(mean, 4), "sd": round(deviation, 4), "values": known}
