"""The command `mine`: what it prints about its own reading, and flags that cannot be obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forgetkit.errors import UsageError
from forgetkit.mine.result import MineResult
from forgetkit_cli.main import app

HARM = {
    "classifier": "slow",
    "estimated_recall": 0.97,
    "recall_low": 0.9,
    "recall_high": 1.0,
    "pieces_never_judged": 12,
}


def test_the_recall_and_what_was_never_judged_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = MineResult({"harm": 3}, [], {}, {"harm": HARM}, [], {}, 0.0)
    monkeypatch.setattr("forgetkit.mine.mine", lambda *_, **__: found)
    command = ["mine", "corpus", "--detector", "harm", "--out", str(tmp_path), "--quiet"]
    shown = CliRunner().invoke(app, command).stdout
    assert "harm: estimated recall 0.97 (0.9 to 1.0), 12 pieces never read" in shown
    (entry,) = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["entries"]
    assert entry == {"detector": "harm", **HARM}


def test_pieces_that_were_never_judged_are_a_warning(tmp_path: Path) -> None:
    from forgetkit.files import write_json
    from forgetkit.mine.result import read_result

    summary = {"counts": {}, "missing_works": [], "accounting": {}, "reports": {"harm": HARM}}
    write_json(tmp_path / "summary.json", summary | {"ignored_files": [], "outputs": {}})
    (warning,) = read_result(tmp_path, 0.0, check=False).warnings
    assert warning == "12 pieces were never judged for harm (see harm_budget)"


@pytest.mark.parametrize("flags", [["--dry-run"], ["--shard", "1/2"]])
def test_explain_needs_a_whole_run(tmp_path: Path, flags: list[str]) -> None:
    command = ["mine", "corpus", "--out", str(tmp_path / "out"), "--explain", "3f2a", *flags]
    failed = CliRunner().invoke(app, command)
    assert isinstance(failed.exception, UsageError)
    assert "--explain needs a whole run" in str(failed.exception)
