"""Damaged model and adapter folders: one clear error, whatever the libraries raise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny

from forgetkit.errors import InputError
from forgetkit.files import sha256_file
from forgetkit.lm.adapter import add_lora, load_adapter
from forgetkit.lm.load import hash_ahead, load_model, model_identity, save_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    tiny.save(tiny.tiny_language_model(), folder)
    return folder


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "garbage": lambda folder: (folder / "model.safetensors").write_bytes(b"no tensors" * 50),
    "empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "cut": lambda folder: cut(folder / "model.safetensors"),
    "a size that is a word": lambda folder: changed(folder / "config.json", hidden_size="abc"),
    "a tokenizer without keys": lambda folder: (folder / "tokenizer_config.json").write_text("[]"),
    "a tokenizer of bytes": lambda folder: (folder / "tokenizer.json").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_folder_is_bad_input(saved: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    DAMAGE[damage](folder)
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        load_model(str(folder), dtype="float32")
    assert str(folder) in str(caught.value)


def test_weights_that_are_not_there_are_not_made_up(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    changed(folder / "config.json", num_hidden_layers=layers + 1, layer_types=None)
    with pytest.raises(InputError, match="lack 9 weights") as caught:
        load_model(str(folder), dtype="float32")
    assert f"model.layers.{layers}." in str(caught.value)


@pytest.mark.parametrize("values", [None, {"peft_type": "NONE_SUCH"}, {"r": "wide"}])
def test_a_damaged_adapter_is_bad_input(
    saved: Path, tmp_path: Path, values: dict[str, Any] | None
) -> None:
    language_model = add_lora(tiny.tiny_language_model(), rank=2, alpha=4, dropout=0.0, seed=0)
    save_model(language_model, tmp_path)
    config = tmp_path / "adapter_config.json"
    if values is None:
        config.write_text("{}")
    else:
        changed(config, **values)
    with pytest.raises(InputError, match="does not fit the model"):
        load_adapter(load_model(str(saved), dtype="float32"), tmp_path)


def test_weights_are_hashed_once_while_they_stay_as_they_are(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, read = tmp_path / "model", list[str]()
    shutil.copytree(saved, folder)

    def noted(path: Path) -> str:
        read.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr("forgetkit.lm.load.sha256_file", noted)
    first = model_identity(str(folder))
    assert model_identity(str(folder)) == first == model_identity(str(saved))
    assert read.count("model.safetensors") == 2  # two files
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)  # as long as before
    assert model_identity(str(folder)) != first
    assert read.count("model.safetensors") == 3


def test_a_model_that_cannot_be_hashed_ahead_is_told_of_where_it_is_needed(tmp_path: Path) -> None:
    hash_ahead(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        model_identity(str(tmp_path / "nowhere"))
