"""Compiled kernels: where they are kept, and that stale ones are never used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forgetkit
from forgetkit.compiled import FOLDERS, sources_digest

PACKAGE = Path(forgetkit.__file__).parent


def test_every_kernel_lies_in_a_folder_whose_sources_count() -> None:
    kernel = re.compile(r"^@(compiled|inlined|intrinsic)", re.MULTILINE)
    holding = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if kernel.search(path.read_text(encoding="utf-8"))
    }
    assert holding == set(FOLDERS)


def test_a_changed_constant_in_another_file_gives_another_cache(tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "forgetkit")
    assert sources_digest(copy) == sources_digest()
    align = copy / "match" / "align.py"
    align.write_text(align.read_text(encoding="utf-8") + "\nGAIN = 1\n", encoding="utf-8")
    assert sources_digest(copy) != sources_digest()


CALL = "from forgetkit.corpus.marks import marked; print(len(marked(b'[1]')[1]))"


def kernels_below(cache: Path) -> list[str]:
    """Call a kernel in a process of its own; return the folders that then hold kernels."""
    environment = os.environ | {"FORGETKIT_CACHE": str(cache), "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", CALL], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "1"
    return sorted({path.relative_to(cache).parts[1] for path in cache.rglob("*.nbi")})


def test_kernels_are_kept_in_the_users_cache_by_the_state_of_the_sources(tmp_path: Path) -> None:
    assert kernels_below(tmp_path) == [sources_digest()[:16]]


def test_a_cache_that_cannot_be_written_does_not_stop_a_command(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert kernels_below(tmp_path / "file") == []
