"""Signatures that outlive a run: what was kept before is the other corpus of the next increment."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.dedupe.config import DedupeConfig
from forgetkit.errors import InputError, TamperedError, UsageError
from forgetkit.files import atomic_stream, read_json, sha256_file, write_json
from forgetkit.match.fingerprints import key_of
from forgetkit.match.shingles import WORDS
from forgetkit.match.signatures import PLACES, bands_for

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "signatures.json"
SHINGLES = "shingles.u64"
FORMAT = 1
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StoredPart:
    """Signatures of the documents of one file that an earlier run kept.

    Attributes:
        label: the file, as sources name it.
        table: Parquet file of signatures; its column `distinct` counts shingles.
        shingles: file of the shingles of all parts of the run.
        begin: first shingle of this part in it.
    """

    label: str
    table: Path
    shingles: Path
    begin: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the file, as the one piece that it is."""
        return (self.label,)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the number of documents."""
        import pyarrow.parquet as pq

        return (int(pq.read_metadata(self.table).num_rows),)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Read some columns."""
        import pyarrow.parquet as pq

        return pq.read_table(self.table, columns=list(names)).replace_schema_metadata(None)

    def sets(self, rows: Numbers) -> Iterator[tuple[npt.NDArray[np.uint64], Numbers]]:
        """Yield the shingles and sizes of some rows, sorted."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.table, columns=["row", "distinct"])
        counts = table["distinct"].to_numpy()
        begins = self.begin + np.cumsum(counts) - counts
        for at in np.searchsorted(table["row"].to_numpy(), rows).tolist():
            offset = int(begins[at]) * 8
            yield (
                np.fromfile(self.shingles, "<u8", int(counts[at]), offset=offset),
                counts[at : at + 1],
            )


@dataclass(frozen=True)
class Store:
    """A folder of signatures.

    Attributes:
        folder: where it is.
        parameters: what signatures depend on.
        runs: earlier runs, in order: name, identity, parts and digests of files.
    """

    folder: Path
    parameters: dict[str, Any]
    runs: list[dict[str, Any]]

    @classmethod
    def open(cls, folder: Path, config: DedupeConfig, digest: str) -> Store:
        """Open a folder, or begin one whose key comes from the digest of the run.

        Raises:
            InputError: its signatures were made with other settings.
            TamperedError: a file does not have the digest recorded for it.
        """
        if not (folder / MANIFEST).is_file():
            _refuse_other_content(folder)
            return cls(folder, _parameters(config) | {"key": digest[:32]}, [])
        content = read_json(folder / MANIFEST)
        if not isinstance(content, dict) or not {"parameters", "runs"} <= set(content):
            raise InputError("is no manifest of signatures", where=str(folder / MANIFEST))
        for name, value in _parameters(config).items():
            found = content["parameters"].get(name)
            if found != value:
                raise InputError(
                    f"signatures were made with another {name}",
                    where=str(folder),
                    found=f"{found}, not {value}",
                    mend="Use the settings of that run, or another folder.",
                )
        store = cls(folder, content["parameters"], content["runs"])
        store._check()
        return store

    def _check(self) -> None:
        for run in self.runs:
            for name, digest in run["files"].items():
                path = self.folder / run["name"] / name
                if sha256_file(path) != digest:
                    raise TamperedError(
                        "is not what an earlier run wrote", where=str(path), mend="Restore it."
                    )

    @property
    def key(self) -> npt.NDArray[np.uint64]:
        """Return the key of the fingerprints."""
        return key_of(bytes.fromhex(self.parameters["key"]))

    def before(self, digest: str) -> list[StoredPart]:
        """Return the parts of all runs before the one of this identity, or of all."""
        found: list[StoredPart] = []
        for run in self.runs:
            if run["run"] == digest:
                break
            folder, begin = self.folder / run["name"], 0
            for part in run["parts"]:
                found.append(
                    StoredPart(part["label"], folder / part["file"], folder / SHINGLES, begin)
                )
                begin += part["shingles"]
        return found

    def holds(self, digest: str) -> bool:
        """Say whether the run of this identity is already there."""
        return any(run["run"] == digest for run in self.runs)

    def add(self, digest: str, parts: Iterator[tuple[str, Any, Any]]) -> None:
        """Append a run; its files come first, the manifest last.

        Args:
            digest: identity of the run.
            parts: label, table of signatures without `distinct`, and pairs of shingles and sizes.
        """
        name = f"{len(self.runs):06d}"
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
        for unfinished in self.folder.glob(f".{MANIFEST}.*"):
            unfinished.unlink()
        entries: list[dict[str, Any]] = []
        with atomic_stream(folder / SHINGLES) as stream:
            for label, table, pieces in parts:
                sizes = [np.zeros(0, np.int64)]
                for hashes, counts in pieces:
                    stream.write(hashes.astype("<u8", copy=False).tobytes())
                    sizes.append(counts)
                distinct = np.concatenate(sizes)
                file = f"{len(entries):06d}.parquet"
                _write(folder / file, table, distinct)
                entries.append({"label": label, "file": file, "shingles": int(distinct.sum())})
        files = {
            path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file()
        }
        run = {"name": name, "run": digest, "parts": entries, "files": files}
        content = {"format": FORMAT, "parameters": self.parameters, "runs": [*self.runs, run]}
        write_json(self.folder / MANIFEST, content)


def _parameters(config: DedupeConfig) -> dict[str, Any]:
    bands = bands_for(config.threshold)
    return {
        "format": FORMAT,
        "compare": config.compare,
        "words": WORDS,
        "places": PLACES,
        "bands": bands.count,
        "rows": bands.rows,
        "seed": config.seed,
    }


def _refuse_other_content(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.glob("[!.]*.*"))):
        raise UsageError(
            "is no folder of signatures", where=str(folder), mend="Name a new or empty folder."
        )


def _write(path: Path, table: Any, distinct: Numbers) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_stream(path) as stream:
        whole = table.append_column("distinct", pa.array(distinct))
        pq.write_table(whole, stream, compression="none", use_dictionary=False)
