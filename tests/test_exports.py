"""Each export is loaded by `datasets` in the shape that its reader expects."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from test_cli import run

from forgetkit.build.exports import export
from forgetkit.errors import InputError, UsageError
from forgetkit.forget_set import PROBES, Example, ForgetSet, write_forget_set
from forgetkit_cli.screen import Output

ODD = 'Line one,\u2028"two"\nthree é'


def example(answer: str, prompt: str = "What is it?", **named: Any) -> Example:
    return Example("pair", prompt, answer, **({"template": "chat"} | named))


def forget_set(folder: Path, **named: Any) -> Path:
    """Write a set of two forget examples; the first has two mismatch answers."""
    first, second = example(ODD, **named), example("Tin.", "And what is that?", **named)
    mismatch = [
        replace(first, answer="I cannot say.\nSorry.", pair_of=first.example_id),
        replace(first, answer="Ask somebody else.", pair_of=first.example_id),
        replace(second, answer="Ask somebody else.", pair_of=second.example_id),
    ]
    splits = {
        "forget": [first, second],
        "mismatch": mismatch,
        "retain": [example("Blue.", "What colour?", weight=2.0, **named)],
        "holdout": [example("Late.", "When?", **named)],
    }
    probes: dict[str, list[Example]] = {name: [] for name in PROBES}
    probes["general"] = [example("Rain.", "Weather?", **named)]
    write_forget_set(folder, ForgetSet(splits, probes), "")
    return folder


def loaded(*files: Path) -> list[dict[str, Any]]:
    """Load a file as its reader does; `datasets` keeps its cache beside it."""
    found = datasets.load_dataset(
        "json",
        data_files=[str(file) for file in files],
        split="train",
        cache_dir=str(files[0].parent / "cache"),
    )
    return [dict(row) for row in found]


def test_trl_reads_preference_pairs_and_completions(tmp_path: Path) -> None:
    written = export(forget_set(tmp_path / "set"), "trl", tmp_path / "out")
    assert sorted(written) == ["holdout.jsonl", "preference.jsonl", "retain.jsonl"]
    pairs = loaded(written["preference.jsonl"])
    assert len(pairs) == 3
    assert pairs[0] == {
        "prompt": [{"role": "user", "content": "What is it?"}],
        "chosen": [{"role": "assistant", "content": "I cannot say.\nSorry."}],
        "rejected": [{"role": "assistant", "content": ODD}],
    }
    assert loaded(written["retain.jsonl"]) == [
        {
            "prompt": [{"role": "user", "content": "What colour?"}],
            "completion": [{"role": "assistant", "content": "Blue."}],
        }
    ]


def test_trl_gets_plain_strings_for_plain_prompts(tmp_path: Path) -> None:
    folder = forget_set(tmp_path / "set", template="plain")
    pairs = loaded(export(folder, "trl", tmp_path / "out")["preference.jsonl"])
    assert pairs[2] == {
        "prompt": "And what is that?", "chosen": "Ask somebody else.", "rejected": "Tin."
    }  # fmt: skip


def test_trl_needs_an_answer_to_prefer(tmp_path: Path) -> None:
    splits: dict[str, list[Example]] = {"forget": [example("a")]}
    splits |= {name: [] for name in ("mismatch", "retain", "holdout")}
    write_forget_set(tmp_path / "set", ForgetSet(splits, dict.fromkeys(PROBES, ())), "")
    with pytest.raises(InputError, match="no forget example has another answer"):
        export(tmp_path / "set", "trl", tmp_path / "out")


def test_open_unlearning_reads_questions_answers_and_idk_lines(tmp_path: Path) -> None:
    written = export(forget_set(tmp_path / "set"), "open-unlearning", tmp_path / "out")
    rows = loaded(written["forget.json"])
    assert rows[0] == {
        "question": "What is it?", "answer": ODD, "alternate": "I cannot say.\nSorry."
    }  # fmt: skip
    assert loaded(written["retain.json"]) == [{"question": "What colour?", "answer": "Blue."}]
    assert "index" not in rows[0]  # its readers add this column
    with written["idk.jsonl"].open(encoding="utf-8") as lines:
        assert [line.strip() for line in lines] == ["I cannot say. Sorry.", "Ask somebody else."]


def test_open_unlearning_completes_prompts_of_texts(tmp_path: Path) -> None:
    splits: dict[str, list[Example]] = {
        name: [Example("text", "Once upon", f" a {name}.")]
        for name in ("forget", "mismatch", "retain", "holdout")
    }
    write_forget_set(tmp_path / "set", ForgetSet(splits, dict.fromkeys(PROBES, ())), "")
    written = export(tmp_path / "set", "open-unlearning", tmp_path / "out")
    row = loaded(written["forget.json"])[0]
    assert (row["prompt"], row["text"]) == ("Once upon", " a forget.")


def test_jsonl_holds_every_column_of_every_split(tmp_path: Path) -> None:
    folder = forget_set(tmp_path / "set")
    written = export(folder, "jsonl", tmp_path / "out")
    assert sorted(written) == [
        "forget.jsonl", "holdout.jsonl", "mismatch.jsonl", "probes/general.jsonl", "retain.jsonl"
    ]  # fmt: skip
    ours = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    for name in ("forget", "mismatch", "retain", "holdout"):
        assert loaded(written[f"{name}.jsonl"]) == [dict(row) for row in ours[name]]


@pytest.mark.parametrize("form", ["trl", "open-unlearning", "jsonl"])
def test_exports_are_private_and_the_same_each_time(tmp_path: Path, form: str) -> None:
    folder = forget_set(tmp_path / "set")
    first, again = (export(folder, form, tmp_path / name) for name in ("a", "b"))
    for name, path in first.items():
        assert path.read_bytes() == again[name].read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert name == "idk.jsonl" or all(map(json.loads, path.read_bytes().rstrip().split(b"\n")))


def test_an_unknown_form_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'trl'"):
        export(forget_set(tmp_path / "set"), "tlr", tmp_path / "out")


def test_build_writes_exports_into_the_forget_set(tmp_path: Path) -> None:
    words = [" ".join(f"w{row}x{n}" for n in range(30)) for row in range(60)]
    parts = {"forget": words[:10], "retain": words[10:50], "holdout": words[50:]}
    for name, texts in parts.items():
        rows = [{"question": f"Who is {name} {n}?", "answer": t} for n, t in enumerate(texts)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    command = (
        "build", "--from", tmp_path / "forget.jsonl", "--retain", tmp_path / "retain.jsonl",
        "--holdout", tmp_path / "holdout.jsonl", "--set", "neighbour_share=0",
        "--out", tmp_path / "set", "--json",
    )  # fmt: skip
    assert run(*command, "--export", "tlr").returncode == 2
    assert not (tmp_path / "set").exists()
    assert run(*command).returncode == 0
    done = run(*command, "--export", "trl", "--export", "jsonl")
    assert done.returncode == 0, done.stderr
    output = Output.model_validate_json(done.stdout)
    assert len(loaded(Path(output.outputs["trl"]) / "preference.jsonl")) == 10
    assert (Path(output.outputs["jsonl"]) / "holdout.jsonl").is_file()
    ours = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert set(ours) == {"forget", "mismatch", "retain", "holdout"}
