"""Near duplicates with datatrove's four MinHash stages, word 5-grams, 14 buckets of 8, one task."""

from __future__ import annotations

from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig
from timing import Stopwatch, arguments, version_of


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()
    config = MinhashConfig(hash_config=HashConfig(precision=64), n_grams=5)
    read = ParquetReader(str(data / "near"), glob_pattern="documents.parquet")
    place = {name: str(scratch / name) for name in ("signatures", "buckets", "remove", "kept")}

    def run(*pipeline: object, tasks: int = 1) -> None:
        LocalPipelineExecutor(
            pipeline=list(pipeline), tasks=tasks, workers=1, logging_dir=None, skip_completed=False
        ).run()

    def find() -> None:
        run(read, MinhashDedupSignature(output_folder=place["signatures"], config=config))
        buckets = MinhashDedupBuckets(
            input_folder=place["signatures"], output_folder=place["buckets"], config=config
        )
        run(buckets, tasks=config.num_buckets)
        run(
            MinhashDedupCluster(
                input_folder=place["buckets"], output_folder=place["remove"], config=config
            )
        )
        run(
            read,
            MinhashDedupFilter(input_folder=place["remove"]),
            ParquetWriter(place["kept"]),
        )

    watch.time("find", find)
    import pyarrow.parquet as pq

    kept = [name for path in Path(place["kept"]).rglob("*.parquet") for name in ids(pq, path)]
    watch.say(out, version=version_of("datatrove"), kept=sorted(kept))


def ids(pq: object, path: Path) -> list[str]:
    return list(pq.read_table(path, columns=["id"])["id"].to_pylist())


if __name__ == "__main__":
    main()
