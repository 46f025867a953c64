"""The forget set: a folder of Parquet splits that `datasets.load_dataset` opens.

`data/` holds the splits forget, mismatch, retain and holdout; `probes/` what evaluation reads
besides: other prompts for the forget text, retain and general rows never trained on, forget
candidates that the target model does not know, and other answers to rows of forget and retain
(`pair_of` names the row; variant paraphrase, perturbed, or truth: the right one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from forgetkit import schema
from forgetkit.errors import InputError
from forgetkit.files import (
    atomic_path,
    read_json,
    sha256_bytes,
    sha256_file,
    write_json,
    write_text,
)

SPLITS = ("forget", "mismatch", "retain", "holdout")
PROBES = ("prompts", "retain", "general", "unknown", "others", "rephrased")


@dataclass(frozen=True)
class Example:
    """One row of a forget set.

    Attributes:
        kind: text (prompt and answer are one passage), pair or fact.
        prompt: what the model is given.
        answer: what it must not, or must still, say; a text answer begins with its own space.
        template: plain or chat.
        variant: which kind of mismatch, retain or probe it is.
        pair_of: the forget example that a mismatch or a probe belongs to.
        group: passage, document or prompt cluster; splits never share one.
        work_id: the work, if any.
        source: where it comes from, with offsets in code points for a text.
        weight: of its loss.
        memorization: extraction strength under the target model, in [0, 1]; None: not scored.
        answer_mask: ranges `[start, end)` of the answer, in code points and ascending, that take
            the loss: what is protected; empty: all of it.
        part: A or B, the side of a relearning test: one is trained on again, the other measured;
            empty: the forget set cannot be cut in two.
    """

    kind: str
    prompt: str
    answer: str
    template: str = "plain"
    variant: str = ""
    pair_of: str = ""
    group: str = ""
    work_id: str = ""
    source: str = ""
    weight: float = 1.0
    memorization: float | None = None
    answer_mask: tuple[tuple[int, int], ...] = ()
    part: str = ""

    @property
    def example_id(self) -> str:
        """Name the example by its content: stable from build to build."""
        key = (self.kind, self.variant, self.pair_of, self.source, self.prompt, self.answer)
        return sha256_bytes("\0".join(key).encode("utf-8", "surrogatepass"))[:16]

    def known(self, memorization: float) -> Example:
        """Return the example with what the target model recites of it."""
        return replace(self, memorization=memorization)


@dataclass(frozen=True)
class ForgetSet:
    """All splits of a forget set, with its manifest.

    Attributes:
        splits: forget, mismatch, retain, holdout.
        probes: prompts, retain, general, unknown, others, rephrased.
        manifest: configuration, counts by reason, digests of inputs and outputs.
    """

    splits: Mapping[str, Sequence[Example]]
    probes: Mapping[str, Sequence[Example]]
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Return the kind of its forget examples: text, pair or fact."""
        return self.splits["forget"][0].kind


def write_forget_set(
    folder: Path, forget_set: ForgetSet, card: str, *, private: bool = False
) -> None:
    """Write splits, probes, data card and manifest; the manifest comes last and seals the folder.

    Args:
        folder: created if need be.
        forget_set: what to write; its manifest gets the digests of the files.
        card: the README's text below the metadata.
        private: the card shows examples: give it mode 0600, as the splits have.
    """
    digests: dict[str, str] = {}
    for part, tables in (("data", forget_set.splits), ("probes", forget_set.probes)):
        for name, examples in tables.items():
            if not examples:
                continue
            relative = _place(part, name)
            _write_table(folder / relative, examples)
            digests[relative] = sha256_file(folder / relative)
    write_text(folder / "README.md", _metadata(forget_set) + card, private=private)
    manifest = dict(forget_set.manifest) | {"schema": schema.MANIFEST, "files": digests}
    write_json(folder / "manifest.json", manifest)


def _place(part: str, name: str) -> str:
    return f"{part}/{name}-00000-of-00001.parquet"


def _write_table(path: Path, examples: Sequence[Example]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [asdict(e) | {"example_id": e.example_id} for e in examples]
    table = pa.Table.from_pylist(rows, schema=schema.examples())
    with atomic_path(path, private=True) as temporary:
        pq.write_table(table, temporary)


def _metadata(forget_set: ForgetSet) -> str:
    lines = ["---", "configs:"]
    for name, part, tables in (
        ("default", "data", forget_set.splits),
        ("probes", "probes", forget_set.probes),
    ):
        filled = [split for split, examples in tables.items() if examples]
        if not filled:
            continue
        lines += [f"- config_name: {name}", "  data_files:"]
        for split in filled:
            lines += [f"  - split: {split}", f"    path: {part}/{split}-*.parquet"]
    return "\n".join([*lines, "---", "", ""])


def read_forget_set(folder: Path) -> ForgetSet:
    """Read a forget set.

    Raises:
        InputError: the folder holds none, or it was not finished.
        TamperedError: a file changed since it was built.
    """
    from forgetkit.errors import TamperedError

    if not (folder / "manifest.json").is_file():
        raise InputError("is no forget set", where=str(folder), mend="Run `forgetkit build`.")
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("schema") != schema.MANIFEST:
        raise InputError("is no forget set manifest", where=str(folder / "manifest.json"))
    tables: dict[str, dict[str, list[Example]]] = {
        "data": {name: [] for name in SPLITS},
        "probes": {name: [] for name in PROBES},
    }
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        raise InputError("lists no files", where=str(folder / "manifest.json"))
    for part, splits in tables.items():
        for name in splits:
            relative = _place(part, name)
            path = folder / relative
            if relative not in listed:
                continue
            if not path.is_file() or sha256_file(path) != listed[relative]:
                raise TamperedError("changed since it was built", where=str(path))
            splits[name] = _read_table(path)
    if not tables["data"]["forget"]:
        raise InputError("has no forget split", where=str(folder), mend="Run `forgetkit build`.")
    return ForgetSet(tables["data"], tables["probes"], manifest)


def _read_table(path: Path) -> list[Example]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = {name for name in schema.examples().names if name != "example_id"}
    try:
        names = [name for name in pq.read_schema(path).names if name in known]
        return [_of_row(row) for row in pq.read_table(path, columns=names).to_pylist()]
    except (pa.ArrowException, OSError, TypeError) as error:
        raise InputError("is no split of a forget set", where=str(path)) from error


def _of_row(row: Mapping[str, Any]) -> Example:
    """Return the example of a row; sets of earlier versions lack the later columns."""
    mask = tuple((int(start), int(end)) for start, end in row.get("answer_mask") or ())
    given = {name: value for name, value in row.items() if name not in ("answer_mask", "part")}
    return Example(**given, answer_mask=mask, part=row.get("part") or "")
