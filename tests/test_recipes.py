"""Recipes: a whole experiment on a model of two layers, resumed, and its table."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import small_case
import tiny
import yaml
from typer.testing import CliRunner

from forgetkit.errors import InputError, UsageError
from forgetkit.evaluate import measure
from forgetkit.files import sha256_tree
from forgetkit.forget_set import read_forget_set
from forgetkit.progress import Silent
from forgetkit.recipes import load_recipe, run_recipe
from forgetkit.recipes.data import files_of
from forgetkit.recipes.recipe import Source, arm
from forgetkit.recipes.table import cell
from forgetkit.registry import entries
from forgetkit.results import Estimate
from forgetkit_cli.main import app
from forgetkit_cli.screen import Output

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
BUILD = {
    "prompt_words": 6,
    "answer_words": 8,
    "stride_words": 4,
    "neighbour_share": 0.0,
    "retain_size": 12,
    "probe_size": 6,
    "holdout_size": 8,
    "rephrased_size": 0,
    "allow_unlike_holdout": True,
}
EVALUATE = {
    "answer_tokens": 8,
    "retain_answer_tokens": 4,
    "dtype": "float32",
    "bootstrap": 100,
    "acceptance": {"leak_rate": None},
}


def recipe_of(folder: Path, **small: Any) -> Path:
    """Write a recipe with everything it names, and return its path."""
    seen = [" ".join(p.split()[n:]) for p in small_case.PASSAGES for n in range(0, 12, 2)]
    tiny.save(tiny.know(tiny.tiny_language_model(), seen, steps=150), folder / "model")
    small_case.rows(folder / "passages.jsonl", list(small_case.PASSAGES))
    small_case.rows(folder / "ordinary.jsonl", small_case.ordinary(30, 2))
    small_case.rows(folder / "general.jsonl", small_case.ordinary(6, 3))
    (folder / "other.txt").write_text(" ".join(small_case.ordinary(20, 4)))
    shared = {"steps": 2, "batch_size": 2, "watch_every": 0, "dtype": "float32"}
    size = {
        "model": str(folder / "model"),
        "data": {
            "forget": "passages.jsonl",
            "retain": ["ordinary.jsonl"],
            "holdout": {"path": "other.txt"},
            "general": "general.jsonl",
        },
        "build": BUILD,
        "unlearn": shared,
        "evaluate": EVALUATE,
        "methods": {
            "finetune": {"method": "graddiff", "settings": {"forget_weight": 0.0}},
            "ga": {"learning_rate": 0.01},
        },
    } | small
    content = {
        "title": "Tales",
        "source": "nobody",
        "columns": ["extraction_strength", "diversity_unseen", "utility_retain"],
        "published": {"original": {"diversity_unseen": 0.5}, "ga": {"extraction_strength": 0.25}},
        "published_note": "a larger model",
        "sizes": {"small": size},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_of(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    run_recipe(recipe, out)
    return out


def test_the_table_has_the_model_before_each_method_and_what_was_published(finished: Path) -> None:
    lines = (finished / "table.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == ["| original", "| finetune", "| ga"]
    assert rows[0] == (
        "|  | Extraction strength | Diversity (unseen) | Utility retain | training, s |"
    )
    assert " (0.25) |" in rows[3]
    assert " (0.50) | – | – |" in rows[1]
    assert "In brackets what was published: a larger model." in lines
    table = json.loads((finished / "table.json").read_text())
    ga = table["rows"][2]
    assert len(ga["values"]["extraction_strength"]) == len(ga["training_seconds"]) == 1


def test_a_finished_run_is_left_as_it_is_and_more_seeds_join(
    recipe: Path, finished: Path, tmp_path: Path
) -> None:
    before = sha256_tree(finished)
    run_recipe(recipe, finished)
    assert sha256_tree(finished) == before
    done = run_recipe(recipe, finished, seeds=2, methods=["ga"])
    after = sha256_tree(finished)
    assert [row.name for row in done.rows] == ["original", "ga"]
    assert len(done.rows[1].seconds) == 2
    assert " ± " in done.table
    assert {k: v for k, v in after.items() if "seed-0" in k} == {
        k: v for k, v in before.items() if "seed-0" in k
    }


def test_the_model_before_is_read_once_for_all_methods(finished: Path) -> None:
    kept = [p.name for p in (finished / "before" / ".parts").iterdir()]
    assert len({name.split("-")[0] for name in kept}) == 1
    assert all("-before-" in name for name in kept)


def test_an_edited_recipe_does_not_mix_with_what_was_run(recipe: Path, finished: Path) -> None:
    changed = recipe.with_name("changed.yaml")
    content = yaml.safe_load(recipe.read_text())
    content["sizes"]["small"]["unlearn"]["steps"] = 3
    changed.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match="holds something else"):
        run_recipe(changed, finished)


def test_a_taught_target_and_a_retain_model_give_forget_quality_its_yardstick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are read once for all methods."""
    read: Counter[str] = Counter()
    reading = measure._read

    def noted(language_model: Any, samples: Any, *given: Any) -> None:
        read[samples[0].model] += 1
        reading(language_model, samples, *given)

    monkeypatch.setattr(measure, "_read", noted)
    path = recipe_of(tmp_path)
    content = yaml.safe_load(path.read_text())
    size = content["sizes"]["small"]
    size["data"] |= {"teach": "passages.jsonl", "teach_retain": "ordinary.jsonl"}
    size["teach"] = {"steps": 1, "batch_size": 1, "least": 0.0, "rank": 2}
    size["methods"] = {"ga": {}, "wga": {}}
    content["columns"] = ["exact_memorization", "fluency"]
    path.write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    run_recipe(path, out)
    assert read["before"] == read["retain_model"] == read["after"] / 2 > 0
    results = json.loads((out / "seed-0/wga/evaluation/results.json").read_text())
    assert results["models"]["before"]["name"].endswith("target")
    assert results["models"]["retain_model"]["name"].endswith("retain_model")
    rows = {
        row["name"]: row["values"] for row in json.loads((out / "table.json").read_text())["rows"]
    }
    assert list(rows) == ["original", "retain model", "ga", "wga"]
    (control,) = [m["control"] for m in results["metrics"] if m["name"] == "exact_memorization"]
    assert rows["retain model"]["exact_memorization"][0][0] == control["value"] is not None
    assert rows["retain model"]["fluency"][0][0] is None  # its control is what is usual


def test_rows_of_the_hub_are_written_once_with_the_recipes_columns(tmp_path: Path) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    lines = [json.dumps({"q": f"why {n}?", "a": "so", "spare": n}) for n in range(4)]
    (folder / "train.jsonl").write_text("\n".join(lines))
    source = Source(
        hub=str(folder),
        split="train[:3]",
        columns={"prompt": "q", "answer": "a"},
        add={"work": "w"},
    )
    (path,) = files_of([source], tmp_path / "data", Silent())
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [{"prompt": f"why {n}?", "answer": "so", "work": "w"} for n in range(3)]
    (folder / "train.jsonl").unlink()
    assert files_of([source], tmp_path / "data", Silent()) == [path]
    wrong = source.model_copy(update={"columns": {"prompt": "question"}, "split": "test"})
    with pytest.raises(InputError, match="cannot be loaded from the hub"):
        files_of([wrong], tmp_path / "data", Silent())


def test_facts_of_holdout_get_their_right_answers_too(tmp_path: Path) -> None:
    from forgetkit.build import BuildConfig, Inputs, build

    def facts(name: str, numbers: range) -> Path:
        lines = [
            json.dumps(
                {
                    "question": f"what is {n} times {n + 1}?",
                    "best_answer": f"right {n}",
                    "correct_answers": [f"right {n}"],
                    "incorrect_answers": [f"wrong {n}"],
                }
            )
            for n in numbers
        ]
        path = tmp_path / name
        path.write_text("\n".join(lines))
        return path

    pairs = [json.dumps({"prompt": f"say {n}", "answer": f"word {n}"}) for n in range(20)]
    (tmp_path / "ordinary.jsonl").write_text("\n".join(pairs))
    inputs = Inputs(
        ready=[facts("forget.jsonl", range(5))],
        holdout=[facts("holdout.jsonl", range(10, 14))],
        retain=[tmp_path / "ordinary.jsonl"],
    )
    build(inputs, tmp_path / "set", config=BuildConfig(**BUILD | {"holdout_size": 0}))
    built = read_forget_set(tmp_path / "set")
    truths = {e.pair_of: e.answer for e in built.probes["others"]}
    for split, count in (("forget", 5), ("holdout", 4)):
        rows = built.splits[split]
        assert len(rows) == count
        assert all(truths[e.example_id] == e.answer.replace("wrong", "right") for e in rows)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_is_whole(path: Path) -> None:
    recipe = load_recipe(path)
    small = recipe.size("small")
    assert all(s.path is not None for role in small.data for s in role[1])
    assert any(s.hub for role in recipe.size("full").data for s in role[1])
    assert {"ga", "yao", "npo", "finetune"} <= set(small.methods)
    assert arm(small, "ga", seed=3).seed == 3
    if path.stem == "tofu":
        for size in recipe.sizes.values():
            methods = {arm(size, row).method for row in size.methods}
            assert methods == {e.name for e in entries("methods")} - {"yao2023"}
    assert set(recipe.published) <= {"original", "retain_model", *small.methods}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"methods": {"nppo": {}}}, UsageError, "Did you mean 'npo'"),
        ({"methods": {"npo": {"stepz": 3}}}, InputError, "Did you mean 'steps'"),
        ({"methods": {"dpo": {"mismatch": "odd"}}}, InputError, "dpo: mismatch: .*'odd'"),
        ({"data": {"forget": "absent.jsonl"}}, InputError, "absent.jsonl"),
        ({"data": {"forget": {"split": "train"}}}, InputError, "name a path or a data set"),
    ],
)
def test_a_wrong_recipe_says_where(
    recipe: Path, change: dict[str, Any], kind: type[Exception], words: str
) -> None:
    content = yaml.safe_load(recipe.read_text())
    content["sizes"]["small"] |= change
    path = recipe.with_name("wrong.yaml")
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(kind, match=words):
        load_recipe(path)


@pytest.mark.parametrize(
    ("column", "attacks", "words"),
    [
        ("leak_at_k", [], "no run has the column 'leak_at_k'. Name sampling in evaluate.attacks"),
        ("attack_quantize", ["sampling"], "Name quantize in evaluate.attacks"),
        ("utility_unseen", [], "Did you mean 'utility_answers'?"),
    ],
)
def test_a_column_that_no_run_has_is_refused_before_any_work(
    recipe: Path, tmp_path: Path, column: str, attacks: list[str], words: str
) -> None:
    content = yaml.safe_load(recipe.read_text())
    content["columns"].append(column)
    content["sizes"]["small"]["evaluate"] = {"attacks": attacks}
    path = recipe.with_name("column.yaml")
    path.write_text(yaml.safe_dump(content))
    call = ["run", str(path), "--out", str(tmp_path / "out")]
    for more in ([], ["--dry-run"]):
        found = CliRunner().invoke(app, [*call, *more]).exception
        assert isinstance(found, UsageError)
        assert words in str(found)
    assert not (tmp_path / "out").exists()
    content["sizes"]["small"]["evaluate"] = {"attacks": ["sampling", "quantize"]}
    content["columns"][-1] = "leak_at_k"
    path.write_text(yaml.safe_dump(content))
    assert load_recipe(path).size("small").evaluate.attacks == ("sampling", "quantize")


def test_a_column_of_another_kind_of_set_is_refused_before_unlearning(
    recipe: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(recipe.read_text())
    content["columns"].append("harmful_rate")
    path = recipe.with_name("kind.yaml")
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match="Tales: no run has the column 'harmful_rate'"):
        run_recipe(path, tmp_path / "out")
    assert not (tmp_path / "out" / "seed-0").exists()


def test_a_run_without_out_goes_to_runs_by_the_name_of_the_recipe(
    recipe: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "recipe")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", str(recipe), "--json"])
    shown = Output.model_validate_json(done.stdout)
    assert shown.outputs["table.md"] == "runs/recipe/table.md"


def test_a_method_with_other_answers_has_a_set_of_its_own_and_the_same_evaluation(
    recipe: Path, finished: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(recipe.read_text())
    methods = content["sizes"]["small"]["methods"]
    content["sizes"]["small"]["methods"] = methods | {"idk": {"mismatch": "refusal"}}
    path = recipe.with_name("answers.yaml")
    path.write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    before = sha256_tree(out)
    done = run_recipe(path, out, methods=["ga", "idk"])
    assert [row.name for row in done.rows] == ["original", "ga", "idk"]
    after = sha256_tree(out)
    assert {n: d for n, d in after.items() if "table" not in n and n in before} == {
        n: d for n, d in before.items() if "table" not in n
    }
    usual, other = (read_forget_set(out / name) for name in ("forget_set", "forget_set-refusal"))
    assert {e.variant for e in other.splits["mismatch"]} == {"refusal"}
    assert usual.splits["forget"] == other.splits["forget"]
    digests = [
        json.loads((out / "seed-0" / name / "evaluation/results.json").read_text())["provenance"][
            "forget_set_sha256"
        ]
        for name in ("ga", "idk")
    ]
    assert digests[0] == digests[1]


def test_a_cell_shows_mean_deviation_and_the_published_number() -> None:
    assert cell([Estimate(0.5)]) == "0.50"
    assert cell([Estimate(0.25), Estimate(0.35)], 0.06) == "0.30 ± 0.07 (0.06)"
    assert cell([Estimate(0.25), Estimate(None, reason="none")]) == "–"


def test_the_command_prints_the_table_and_one_object(recipe: Path, finished: Path) -> None:
    call = ["run", str(recipe), "--out", str(finished), "--methods", "ga"]
    done = CliRunner().invoke(app, [*call, "--quiet"])
    assert done.exit_code == 0
    assert "| original |" in done.stdout
    shown = Output.model_validate_json(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert [entry["name"] for entry in shown.entries] == ["original", "ga"]
    dry = CliRunner().invoke(app, [*call, "--dry-run", "--json", "--seeds", "3"])
    counts = Output.model_validate_json(dry.stdout).counts
    assert counts == {"models to teach": 0, "unlearnings and evaluations": 3}
    for more in ([], ["--dry-run"]):
        wrong = CliRunner().invoke(app, [*call[:-1], "gaa", *more]).exception
        assert isinstance(wrong, UsageError)
        assert "unknown row 'gaa'" in str(wrong)
