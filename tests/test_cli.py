"""Every command as a user runs it: what it prints, what it exits with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small_case

from forgetkit.files import locked, sha256_tree
from forgetkit.spans import read_spans, write_spans
from forgetkit_cli.screen import Output, safe

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "forgetkit_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


@pytest.fixture(scope="module")
def request_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_case.make(tmp_path_factory.mktemp("cli") / "inputs")


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "metrics", "--json"]])
def test_quick_commands_import_no_torch(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['forgetkit', *{arguments!r}]\n"
        "from forgetkit_cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pyarrow', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


COMMANDS = (
    "mine",
    "index",
    "explain",
    "dedupe",
    "build",
    "teach",
    "unlearn",
    "evaluate",
    "attack",
    "report",
    "takedown",
    "run",
    "status",
    "review",
    "list",
    "doctor",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.count(f"forgetkit {command}") >= 2
    assert "--json" in done.stdout


def test_mine_explains_a_span_with_one_object(tmp_path: Path) -> None:
    works, out = SAMPLE / "works", tmp_path / "mined"
    mine = ("mine", SAMPLE / "corpus", "--works", works, "--detector", "verbatim", "--out", out)
    assert run(*mine, "--quiet").returncode == 0
    span = read_spans(out / "spans.parquet")[0]
    done = run(*mine, "--explain", span.span_id, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["command"], shown["counts"]["start"]) == ("explain", span.start)
    assert {"document", "mark", "work"} == set(shown["entries"][0])


def test_dedupe_in_shards_gathers_to_the_bytes_of_one_run(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    texts = [f"The {word} sat on the mat and told the others a long story." for word in "abcab"]
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    command = ("dedupe", corpus, "--set", "task_mb=0.00005", "--json", "--out")
    planned = run(*command, tmp_path / "planned", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    counts = Output.model_validate_json(planned.stdout).counts
    assert (counts["files"], counts["tasks"]) == (1, 5)
    assert not (tmp_path / "planned").exists()
    for shard, tasks in (("2/2", 2), ("1/2", 3)):
        done = run(*command, tmp_path / "shards", "--shard", shard, "--workers", "2")
        assert done.returncode == 0, done.stderr
        counts = Output.model_validate_json(done.stdout).counts
        assert (counts["tasks"], counts["of"]) == (tasks, 5)
    whole, gathered = (run(*command, tmp_path / name) for name in ("whole", "shards"))
    counts = Output.model_validate_json(gathered.stdout).counts
    assert counts == Output.model_validate_json(whole.stdout).counts
    assert (counts["kept"], counts["duplicate"]) == (3, 2)
    assert sha256_tree(tmp_path / "shards") == sha256_tree(tmp_path / "whole")


def test_flags_of_dedupe_that_cannot_be_obeyed_exit_2(tmp_path: Path) -> None:
    corpus, spans = tmp_path / "corpus.jsonl", tmp_path / "spans.parquet"
    corpus.write_text('{"text": "One line."}\n')
    write_spans(spans, [])
    renamed = tmp_path / "found.parquet"
    shutil.copy(spans, renamed)
    cases: list[tuple[str, tuple[str | Path, ...]]] = [
        ("unknown engine 'spark'", (corpus, "--engine", "spark")),
        ("--shard is not i/n; found 3/2", (corpus, "--shard", "3/2")),
        ("are for corpora, not for spans", (spans, "--shard", "1/2")),
        ("are for corpora, not for spans", (spans, "--engine", "ray")),
        ("are for corpora, not for spans", (renamed, "--workers", "2")),
        ("level: is for corpora, not for spans", (renamed, "--level", "line")),
        ("none is dropped. Write --semantic label", (spans, "--semantic", "drop")),
        ("a spans file is grouped alone; found 2 inputs", (spans, renamed)),
        ("--keep newest needs a column. Write newest:COLUMN", (corpus, "--keep", "newest")),
        ("unknown --keep 'longst'. Did you mean 'longest'", (corpus, "--keep", "longst")),
    ]
    for words, arguments in cases:
        done = run("dedupe", *arguments, "--out", tmp_path / "out")
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert len(done.stderr.strip().split("\n")) == 1


def test_doctor_compiles_the_kernels_ahead() -> None:
    done = run("doctor", "--warm", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry["value"] for entry in json.loads(done.stdout)["entries"]}
    assert "mine ready in" in found["kernels"]
    assert "dedupe ready in" in found["kernels"]


def test_bad_usage_and_bad_input_get_one_line_and_their_exit_code(
    request_file: Path, tmp_path: Path
) -> None:
    here = request_file.parent
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "typo.yaml").write_text("mine:\n  min_charz: 3\n")
    (tmp_path / "folder").mkdir()
    out = tmp_path / "out"
    works = ("--works", here / "works", "--detector", "verbatim")
    absent = tmp_path / "absent.jsonl"
    cases: list[tuple[int, str, tuple[str | Path, ...]]] = [
        (2, "unknown detector 'verbatm'. Did you mean 'verbatim'?",
         ("mine", here / "corpus.jsonl", "--detector", "verbatm", "--out", out)),
        (2, "unknown list 'method'. Did you mean 'methods'?", ("list", "method")),
        (3, "no such file or folder", ("mine", absent, *works, "--out", out)),
        (3, "the corpus is empty", ("mine", tmp_path / "empty.jsonl", *works, "--out", out)),
        (3, "unknown key. Did you mean 'min_chars'?",
         ("mine", here / "corpus.jsonl", *works, "--out", out, "--config", tmp_path / "typo.yaml")),
        (3, "is no forget set",
         ("unlearn", "--model", here / "model", "--forget-set", tmp_path / "folder", "--out", out)),
        (2, "unknown method 'npoo'. Did you mean 'npo'?",
         ("unlearn", "--model", here / "model", "--forget-set", tmp_path / "folder",
          "--method", "npoo", "--out", out)),
        (3, "no such file", ("takedown", tmp_path / "absent.yaml", "--case", out)),
        (3, "is no case", ("status", tmp_path / "folder")),
        (3, "is no model folder",
         ("teach", tmp_path / "folder", here / "retain.jsonl", "--out", out)),
        (3, "no such file", ("report", tmp_path / "folder", "--out", tmp_path / "r.html")),
    ]  # fmt: skip
    for code, words, arguments in cases:
        done = run(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        lines = [line for line in done.stderr.strip().split("\n") if "reading" not in line]
        assert len(lines) == 1, done.stderr
        assert words in lines[0]
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_is_one_line_with_its_place_and_exit_1(debug: bool) -> None:
    code = (
        "import sys\n"
        "from forgetkit_cli.main import app, main\n"
        "@app.command('broken')\n"
        "def broken(debug: bool = False):\n    raise KeyError('the protected text')\n"
        f"sys.argv = ['forgetkit', 'broken'] + ['--debug'] * {debug}\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    *before, last = done.stderr.strip().split("\n")
    words = "Run again with --debug for the traceback, and report it."
    assert last == f"forgetkit: a bug: KeyError at <string>:5. {words}"
    assert bool(before) is ("Traceback" in done.stderr) is debug
    assert ("protected" in done.stderr) is debug


def test_a_broken_line_is_quarantined_and_counted(request_file: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lines = (request_file.parent / "corpus.jsonl").read_text()
    corpus.write_text('{"id": "x", "text": "cut off\n' + lines)
    out = tmp_path / "mined"
    works = request_file.parent / "works"
    done = run("mine", corpus, "--works", works, "--detector", "verbatim", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    counts = Output.model_validate_json(done.stdout).counts
    assert (counts["read"], counts["kept"], counts["quarantined"]) == (13, 12, 1)
    row = json.loads((out / "quarantine.jsonl").read_text())
    assert row["line"] == 1
    assert "cut off" not in json.dumps(row)


def test_a_detector_named_after_another_joins_it(request_file: Path, tmp_path: Path) -> None:
    here, patterns = request_file.parent, tmp_path / "patterns.txt"
    patterns.write_text("the\n")
    given = ("--works", here / "works", "--patterns", patterns, "--out", tmp_path / "mined")
    named = ("--detector", "pattern", "--detector", "verbatim")
    done = run("mine", here / "corpus.jsonl", *given, *named, "--json")
    assert done.returncode == 0, done.stderr
    counts = Output.model_validate_json(done.stdout).counts
    assert {"pattern", "verbatim"} <= set(counts)


def test_too_many_broken_lines_stop_the_run(request_file: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("{broken\n" * 20 + (request_file.parent / "corpus.jsonl").read_text())
    works = request_file.parent / "works"
    out = tmp_path / "mined"
    done = run("mine", corpus, "--works", works, "--detector", "verbatim", "--out", out)
    assert done.returncode == 6
    assert (out / "quarantine.jsonl").read_text().count("\n") == 20


def test_a_second_process_on_a_case_exits_7(request_file: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "case"):
        done = run("takedown", request_file, "--case", tmp_path / "case", "--auto-approve")
    assert done.returncode == 7
    assert "another process works on this case" in done.stderr


def test_a_whole_case_by_hand_and_by_takedown(request_file: Path, tmp_path: Path) -> None:
    """Review between finding and acting; every `--json` object keeps to its schema."""
    case = tmp_path / "case"
    first = run("takedown", request_file, "--case", case, "--json")
    assert first.returncode == 0, first.stderr
    assert not (case / "forget_set").exists()
    listed = Output.model_validate_json(run("review", case, "--json").stdout)
    assert {entry["decision"] for entry in listed.entries} == {"undecided"}
    assert run("review", case, "--accept-all").returncode == 2  # a decision needs a name
    done = run("review", case, "--accept-all", "--reviewer", "ana", "--reason", "read", "--json")
    assert Output.model_validate_json(done.stdout).counts["accepted"] == 3
    second = run("takedown", request_file, "--case", case, "--json")
    assert second.returncode == 0, second.stderr
    output = Output.model_validate_json(second.stdout)
    assert output.verdict == "pass"
    assert output.metrics["extraction_strength"].verdict == "pass"
    assert Path(output.outputs["report"]).is_file()
    state = Output.model_validate_json(run("status", case, "--json").stdout)
    assert state.entries[0]["state"] == "answered"


def test_the_stages_one_by_one_over_files(request_file: Path, tmp_path: Path) -> None:
    """The thresholds are the defaults here, which a toy model misses: exit 4, results written."""
    here = request_file.parent
    settings = ("--config", here / "settings.yaml", "--json")
    model = here / "model"
    works = ("--works", here / "works")
    steps: list[tuple[int, tuple[str | Path, ...]]] = [
        (0, ("mine", here / "corpus.jsonl", *works, "--out", tmp_path / "mined", *settings)),
        (0, ("dedupe", tmp_path / "mined" / "spans.parquet", "--out", tmp_path / "deduped",
             "--json")),
        (0, ("build", "--spans", tmp_path / "deduped" / "spans.parquet", "--accept-all", *works,
             "--retain", here / "retain.jsonl", "--holdout", here / "holdout", "--general",
             here / "general.jsonl", "--model", model, "--out", tmp_path / "set", *settings)),
        (0, ("unlearn", "--model", model, "--forget-set", tmp_path / "set", "--out",
             tmp_path / "unlearned", *settings)),
        (4, ("evaluate", "--model", tmp_path / "unlearned" / "model", "--before", model,
             "--forget-set", tmp_path / "set", "--out", tmp_path / "results", *settings)),
        (0, ("report", tmp_path / "results", "--out", tmp_path / "report.html", "--json")),
    ]  # fmt: skip
    for code, arguments in steps:
        done = run(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        output = Output.model_validate_json(done.stdout)
        assert output.command == arguments[0]
        assert all(Path(path).exists() for path in output.outputs.values())


def test_a_folder_that_holds_something_else_is_refused(request_file: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    here = request_file.parent
    done = run(
        "mine", here / "corpus.jsonl", "--works", here / "works", "--detector", "verbatim",
        "--out", tmp_path / "full",
    )  # fmt: skip
    assert done.returncode == 2
    assert "holds something else" in done.stderr
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["letter.txt"]


def test_untrusted_text_reaches_no_terminal_raw() -> None:
    assert safe("a\x1b[31mb\u202ec\u200b") == "a�[31mb�c�"


def test_the_sample_requests_are_valid() -> None:
    from forgetkit.takedown import load_request
    from forgetkit.takedown.settings import load_settings

    for name in ("request.yaml", "request-harmful.yaml"):
        request = load_request(SAMPLE / name)
        assert load_settings(request.settings).data.retain
        assert request.acceptance
