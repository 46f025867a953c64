"""Cross a tenth and the whole of a set: works times ten, corpus times ten, and the memory."""

from __future__ import annotations

from pathlib import Path

TENTH = 10


def crossed(whole: Path, out: Path) -> dict[str, Path]:
    """Return data folders by name that link works and corpus, each whole or a tenth of it."""
    tenth = make_tenth(whole, out / "tenth")
    folders = {}
    for works_name, works in (("a tenth of the", tenth), ("all", whole)):
        for corpus_name, corpus in (("a tenth of the", tenth), ("the whole", whole)):
            folder = out / f"{works_name}-works-{corpus_name}-corpus".replace(" ", "-")
            (folder / "spans").mkdir(parents=True, exist_ok=True)
            link(folder / "spans/works.parquet", works / "spans/works.parquet")
            link(folder / "spans/corpus", corpus / "spans/corpus")
            folders[f"{works_name} works, {corpus_name} corpus"] = folder
    return folders


def make_tenth(whole: Path, out: Path) -> Path:
    """Write every tenth document, and a tenth of the characters of the works, the shortest ones."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    (out / "spans/corpus").mkdir(parents=True, exist_ok=True)
    for path in sorted((whole / "spans/corpus").glob("*.parquet")):
        table = pq.read_table(path)
        some = table.take(list(range(0, table.num_rows, TENTH)))
        pq.write_table(some, out / "spans/corpus" / path.name, row_group_size=2048)
    works = pq.read_table(whole / "spans/works.parquet")
    order = pc.sort_indices(pc.utf8_length(works["text"]))
    works = works.take(order)
    sums = pc.cumulative_sum(pc.utf8_length(works["text"]).cast(pa.int64()))
    few = pc.sum(pc.less_equal(sums, sums[-1].as_py() // TENTH)).as_py()
    pq.write_table(works.slice(0, max(1, few)), out / "spans/works.parquet")
    return out


def link(place: Path, target: Path) -> None:
    """Make a link at a place, in place of one that is there."""
    if place.is_symlink():
        place.unlink()
    place.symlink_to(target.resolve())
