"""Cross the small and the full set: works times ten, corpus times ten, and the memory it takes."""

from __future__ import annotations

from pathlib import Path


def crossed(small: Path, full: Path, out: Path) -> dict[str, Path]:
    """Return data folders by name that link works of one size to a corpus of another."""
    folders = {}
    for works_name, works in (("small", small), ("full", full)):
        for corpus_name, corpus in (("small", small), ("full", full)):
            folder = out / f"{works_name}-works-{corpus_name}-corpus"
            (folder / "spans").mkdir(parents=True, exist_ok=True)
            link(folder / "spans/works.parquet", works / "spans/works.parquet")
            link(folder / "spans/corpus", corpus / "spans/corpus")
            folders[f"{works_name} works, {corpus_name} corpus"] = folder
    return folders


def link(place: Path, target: Path) -> None:
    """Make a link at a place, in place of one that is there."""
    if place.is_symlink():
        place.unlink()
    place.symlink_to(target.resolve())
