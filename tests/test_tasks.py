"""Tasks of lm-evaluation-harness on a model of two layers (skipped where it is not installed)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tiny

from forgetkit.errors import UsageError
from forgetkit.evaluate import EvaluateConfig, evaluate, rescore
from forgetkit.evaluate.tasks import task_metrics
from forgetkit.forget_set import ForgetSet, write_forget_set
from forgetkit.lm.harness import run_tasks

TASK = """\
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: label
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 3}}
"""


def colours(folder: Path) -> str:
    """Write a task of four questions whose right answers a model can know by heart."""
    rows = [
        {"question": p[:30], "choices": [p[30:], o[30:]], "label": 0}
        for p, o in zip(tiny.PASSAGES, tiny.ELSEWHERE, strict=True)
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "colours.yaml").write_text(TASK.format(file=folder / "rows.jsonl"))
    return str(folder)


@pytest.mark.filterwarnings("ignore")
def test_a_task_tells_a_model_that_knows_from_one_that_does_not(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    (tmp_path / "tasks").mkdir()
    folder = colours(tmp_path / "tasks")
    target = tiny.save(tiny.know(tiny.tiny_language_model(), tiny.PASSAGES), tmp_path / "target")
    other = tiny.save(tiny.know(tiny.tiny_language_model(), tiny.ELSEWHERE), tmp_path / "other")
    rows = [tiny.text(p[:20], p[20:]) for p in tiny.PASSAGES]
    splits = {"forget": rows, "mismatch": [], "retain": rows, "holdout": rows}
    write_forget_set(tmp_path / "set", ForgetSet(splits, {}), "x")
    config = EvaluateConfig(
        dtype="float32", bootstrap=100, answer_tokens=4, tasks=("colours",), task_folder=folder
    )
    out = tmp_path / "out"
    found = evaluate(other, tmp_path / "set", out, before=target, config=config).results
    metric = found.metric("task_colours_acc")
    assert (metric.before.value, metric.after.value) == (1.0, 0.0)
    assert (metric.better, metric.after.n, found.tasks[0]["version"]) == ("higher", 4, "3")
    written = (out / "results.json").read_bytes()
    rescore(out)
    assert (out / "results.json").read_bytes() == written
    with pytest.raises(UsageError, match="unknown task 'colors'"):
        run_tasks(tiny.tiny_language_model(), ["colors"], folder=folder)


def test_without_the_harness_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UsageError, match=r"pip install 'forgetkit\[lm-eval\]'"):
        run_tasks(tiny.tiny_language_model(), ["mmlu"])


def test_a_score_gets_an_interval_from_its_standard_error() -> None:
    row = {"task": "t", "measure": "acc", "value": 0.5, "error": 0.1, "n": 25, "better": "higher"}
    metric = task_metrics([row | {"role": "after"}])[0]
    assert metric.name == "task_t_acc"
    assert metric.after.low == pytest.approx(0.5 - 0.196)
    assert metric.after.high == pytest.approx(0.5 + 0.196)
    assert metric.before.value is None
    plain = task_metrics([row | {"role": "after", "error": None}])[0]
    assert plain.after.low is None
