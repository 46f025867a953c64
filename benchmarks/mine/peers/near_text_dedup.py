"""Near duplicates with text-dedup's MinHash command: 128 permutations, xxh3, one process."""

from __future__ import annotations

import os
import subprocess
import sys

from timing import Stopwatch, arguments, version_of


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()
    cluster_ids = scratch / "ids"
    command = [sys.executable, "-m", "text_dedup.minhash", "--path", "parquet", "--data_files"]
    command += [str((data / "near/documents.parquet").resolve()), "--split", "train"]
    command += ["--column", "text", "--ngram", "5", "--num_perm", "128", "--threshold", "0.8"]
    command += ["--min_length", "1", "--hash_func", "xxh3", "--num_proc", "1", "--debug"]
    command += ["--cache_dir", str(cluster_ids), "--output", str(scratch / "kept")]
    environment = os.environ | {"HF_DATASETS_OFFLINE": "1", "HF_HOME": str(scratch / "home")}
    watch.time(
        "find",
        lambda: subprocess.run(
            command, check=True, cwd=scratch, env=environment, stdout=subprocess.DEVNULL
        ),
    )
    from datasets import load_from_disk

    kept = set(load_from_disk(str(scratch / "kept"))["id"])
    watch.say(out, version=version_of("text-dedup"), kept=sorted(kept))


if __name__ == "__main__":
    main()
