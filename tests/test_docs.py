"""The pages of docs/: complete, and their examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tiny

from forgetkit.evaluate.config import ATTACK_RULES, USUAL_RULES, EvaluateConfig
from forgetkit.evaluate.plugin import custom, load_plugin
from forgetkit.evaluate.sample import AFTER, Sample
from forgetkit.registry import entries

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")


def row(name: str) -> list[str]:
    """Return the cells of a metric's or attack's row."""
    (line,) = re.findall(rf"^\| `{name}` \|(.*)\|$", PAGE, re.MULTILINE)
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]


@pytest.mark.parametrize("name", [entry.name for entry in entries("metrics")])
def test_every_metric_stands_in_the_page_with_source_and_whether_it_is_judged(name: str) -> None:
    _, better, passes, source = row(name)
    (entry,) = [entry for entry in entries("metrics") if entry.name == name]
    assert better == {"none": "–"}.get(entry.better, entry.better)
    assert source == entry.source
    judged = {n for rules in (*USUAL_RULES.values(), *ATTACK_RULES.values()) for n in rules}
    assert (passes != "–") is (name in judged)


def test_every_attack_and_the_page_itself_are_named() -> None:
    assert all(row(entry.name) for entry in entries("attacks"))
    assert "docs/evaluate.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_of_a_plugin_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "shouting.py"
    path.write_text(code, encoding="utf-8")
    said = [
        Sample(AFTER, "forget", tiny.text("p", "a"), completion=c) for c in ("ABcd", "abcd", "")
    ]
    (found,) = custom(load_plugin(path), said, EvaluateConfig(), [])
    assert (found.name, found.after.value, found.after.n) == ("shouting", 0.25, 2)
