"""What a terminal shows while a stage runs."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import tiny
from rich.console import Console
from test_unlearn import TEACHING, passages

from forgetkit.unlearn import teach
from forgetkit_cli.screen import Bars, Screen

LINE = "81 tokens/s · forget -1.120 · retain_kl 1.220 · retain_nll 4.035"


def terminal(width: int) -> Screen:
    screen = Screen(as_json=False, quiet=False)
    screen.err = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        highlight=False,
        _environ={"TERM": "xterm-256color"},
    )
    return screen


def shown(screen: Screen) -> str:
    assert isinstance(screen.err.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.err.file.getvalue())


def test_a_terminal_of_80_columns_shows_time_left_and_all_losses() -> None:
    screen = terminal(80)
    with Bars(screen) as bars:
        bars.stage("unlearn (npo)", 400)
        for _ in range(3):
            time.sleep(0.02)
            bars.advance()
            bars.note(LINE)
        assert bars._live is not None
        bars._live.refresh()
        while_it_ran = shown(screen)
    assert re.search(r"unlearn \(npo\) \S+ +3/400 0:00:00, 0:00:\d\d left", while_it_ran)
    assert LINE in while_it_ran
    last = shown(screen).rstrip().splitlines()[-1]
    assert "400/400" in last
    assert "left" not in last


def test_a_narrow_terminal_cuts_the_losses_and_keeps_the_bar() -> None:
    screen = terminal(50)
    with Bars(screen) as bars:
        bars.stage("teach", 4)
        bars.advance()
        bars.note(LINE)
        assert bars._live is not None
        bars._live.refresh()
    lines = shown(screen).splitlines()
    assert all(len(line) <= 50 for line in lines)
    assert any(line.strip().startswith("81 tokens/s") for line in lines)


def test_where_nothing_is_left_to_estimate_only_the_time_that_passed_is_shown() -> None:
    screen = terminal(80)
    with Bars(screen) as bars:
        bars.stage("merge", None)
        assert bars._live is not None
        bars._live.refresh()
        assert "left" not in shown(screen)


class Heard:
    """A listener that keeps the notes."""

    def __init__(self) -> None:
        self.steps, self.notes = 0, list[str]()

    def stage(self, name: str, total: int | None) -> None:
        """Ignore a stage."""

    def advance(self, n: int = 1) -> None:
        """Count."""
        self.steps += n

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


def test_teaching_says_tokens_per_second_and_its_losses_at_every_step(tmp_path: Path) -> None:
    name = tiny.save(tiny.tiny_language_model(), tmp_path / "model")
    data = passages(tmp_path / "data.jsonl", tiny.PASSAGES)
    mix = passages(tmp_path / "mix.jsonl", tiny.ORDINARY)
    config = TEACHING.model_copy(update={"least": 0.0, "steps": 3, "mix_share": 1.0})
    heard = Heard()
    teach(name, [data], tmp_path / "out", mix=[mix], config=config, progress=heard)
    assert heard.steps == 3
    words = r"[1-9]\d* tokens/s · teach \d+\.\d{3} · mix \d+\.\d{3}"
    assert all(re.fullmatch(words, note) for note in heard.notes)
    assert len(heard.notes) == 3
