"""Data sets of the hub, saved ones and Arrow streams are corpora of every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from forgetkit.corpus import Quarantine, corpus_files, read_corpus
from forgetkit.dedupe import dedupe
from forgetkit.errors import InputError
from forgetkit.mine import MineConfig, mine
from forgetkit.spans import read_spans

COPIED = "It was the clerk of the harbour who first saw that the great brass lock was gone. " * 3
TEXTS = ["Nothing to see here.", COPIED, COPIED]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Give every data set of the hub two splits; return what was asked for."""
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    load, asked = datasets.load_dataset, []

    def local(name: str, part: str | None, *, split: str | None) -> Any:
        asked.append((name, part))
        files = {"train": str(source), "test": str(source)}
        return load("json", data_files=files, split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", local)
    return asked


def saved(folder: Path) -> Path:
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(folder / "saved")
    return folder / "saved"


def stream(folder: Path) -> Path:
    table = pa.table({"text": TEXTS})
    with pa.ipc.new_stream(folder / "rows.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return folder / "rows.arrow"


def of_hub(folder: Path) -> Path:
    return Path("hf:org/name@train")


def of_folder(folder: Path) -> Path:
    (folder / "data").mkdir()
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    (folder / "data" / "train.jsonl").write_text(rows, "utf-8")
    return Path(f"hf:{folder / 'data'}")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("make", [saved, stream, of_hub])
def test_data_sets_are_mined_and_deduplicated(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    corpus, works = make(tmp_path), tmp_path / "works"
    works.mkdir()
    (works / "harbour.txt").write_text(COPIED, "utf-8")
    config = MineConfig(detectors=("verbatim",))
    mine([corpus], tmp_path / "mined", works=[works], config=config)
    spans = read_spans(tmp_path / "mined" / "spans.parquet")
    assert [s.source.rpartition(":")[2] for s in spans] == ["2", "3"]
    done = dedupe([corpus], tmp_path / "out")
    assert (done.counts["read"], done.counts["kept"]) == (3, 2)
    (kept,) = (tmp_path / "out" / "kept").rglob("*.jsonl")
    lines = kept.read_text("utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == TEXTS[:2]


def test_a_folder_that_the_library_loads_is_named_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    done = dedupe([of_folder(tmp_path)], tmp_path / "out")
    assert list(done.accounting) == ["data/train-00000.arrow"]
    assert done.counts["kept"] == 2


def test_a_saved_set_of_splits_is_read_whole_and_has_no_prefix(tmp_path: Path) -> None:
    part = datasets.Dataset.from_dict({"text": TEXTS})
    datasets.DatasetDict(train=part, test=part).save_to_disk(tmp_path / "saved")
    quarantine = Quarantine()
    assert len(list(read_corpus([tmp_path / "saved"], quarantine=quarantine))) == 6
    assert quarantine.rows == []
    with pytest.raises(InputError, match="without hf:"):
        corpus_files([Path(f"hf:{tmp_path / 'saved'}")])


def test_a_set_named_twice_is_read_once(hub: list[tuple[str, str | None]]) -> None:
    paths = [Path("hf:org/name"), Path("hf:org/name@train"), Path("hf:org/name")]
    documents = list(read_corpus(paths, quarantine=Quarantine()))
    assert len(documents) == len({one.source for one in documents}) == 6


def test_a_configuration_may_be_named(hub: list[tuple[str, str | None]]) -> None:
    for name in ("name@train", "org/name@train", "org/name/config@train"):
        ((label, _),) = corpus_files([Path(f"hf:{name}")])
        assert label == name.replace("@", "/") + "-00000.arrow"
    assert hub == [("name", None), ("org/name", None), ("org/name", "config")]


def test_a_part_of_a_split_is_refused(hub: list[tuple[str, str | None]]) -> None:
    with pytest.raises(InputError, match=r"split is read whole\. Write hf:org/name@train"):
        corpus_files([Path("hf:org/name@train[:2]")])
    assert hub == []


def test_a_data_set_that_is_a_script_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Dataset scripts are no longer supported, but found name.py")

    monkeypatch.setattr(datasets, "load_dataset", script)
    with pytest.raises(InputError, match="scripts are no longer supported"):
        corpus_files([Path("hf:org/name")])


def test_a_file_with_the_name_of_one_of_the_hub_is_no_silent_loss(
    tmp_path: Path, hub: list[tuple[str, str | None]]
) -> None:
    place = tmp_path / "corpus" / "org" / "name"
    place.mkdir(parents=True)
    stream(place).rename(place / "train-00000.arrow")
    with pytest.raises(InputError, match="two files have this name"):
        corpus_files([tmp_path / "corpus", Path("hf:org/name")])
