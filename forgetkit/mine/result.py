"""What `mine` leaves in its folder, and how it is read back."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from forgetkit.errors import TamperedError
from forgetkit.files import PARTS, read_json, sha256_file, sweep
from forgetkit.spans import Span, read_spans

MARKER = "summary.json"
SPANS, QUARANTINE = "spans.parquet", "quarantine.jsonl"


@dataclass(frozen=True)
class MineResult:
    """What `mine` found.

    Attributes:
        counts: spans by detector.
        missing_works: ids of works of which nothing was found.
        accounting: by file, rows read, kept, filtered, duplicate and quarantined.
        reports: by detector, what it says about its own work (windows never read, thresholds).
        warnings: sentences for the user.
        outputs: the files written, by name.
        seconds: wall-clock time.
    """

    counts: dict[str, int]
    missing_works: list[str]
    accounting: dict[str, dict[str, int]]
    reports: dict[str, dict[str, Any]]
    warnings: list[str]
    outputs: dict[str, Path]
    seconds: float

    @cached_property
    def spans(self) -> list[Span]:
        """Read the spans, as in `spans.parquet`; there may be millions."""
        return read_spans(self.outputs[SPANS])


def tidy(out: Path) -> None:
    """Remove the parts and what a killed run left."""
    shutil.rmtree(out / PARTS, ignore_errors=True)
    sweep(out, (SPANS, QUARANTINE, MARKER, f".{MARKER}.started"))


def read_result(out: Path, seconds: float, *, check: bool) -> MineResult:
    """Read the result of a run.

    Args:
        out: its folder.
        seconds: wall-clock time.
        check: compare the files with the digests that the run wrote.

    Raises:
        TamperedError: a file was changed.
    """
    summary = read_json(out / MARKER)
    for name, digest in summary["outputs"].items() if check else ():
        if sha256_file(out / name) != digest:
            raise TamperedError(
                "was changed after it was written",
                where=str(out / name),
                mend="Remove the folder and run the command again.",
            )
    return MineResult(
        counts=summary["counts"],
        missing_works=summary["missing_works"],
        accounting=summary["accounting"],
        reports=summary["reports"],
        warnings=_warnings(summary),
        outputs={name: out / name for name in (SPANS, QUARANTINE, MARKER)},
        seconds=seconds,
    )


def _warnings(summary: dict[str, Any]) -> list[str]:
    warnings = [f"work '{name}' is nowhere in the corpus" for name in summary["missing_works"]]
    unread = summary["reports"].get("semantic", {}).get("windows_never_read", 0)
    if unread:
        warnings.append(f"{unread} windows were never read by meaning (see max_windows)")
    unread = summary["reports"].get("harm", {}).get("pieces_never_judged", 0)
    if unread:
        warnings.append(f"{unread} pieces were never judged for harm (see harm_budget)")
    bad = sum(counts["quarantined"] for counts in summary["accounting"].values())
    if bad:
        warnings.append(f"{bad} bad rows were put into quarantine.jsonl")
    if summary["ignored_files"]:
        warnings.append(f"{len(summary['ignored_files'])} files of unknown kind were ignored")
    return warnings
