"""Near duplicates with rensa: Python word 5-grams, 128 permutations, LSH; verified or not."""

from __future__ import annotations

from rensa import RMinHash, RMinHashLSH
from shingling import keep_first, read, shingles, write
from timing import Stopwatch, arguments, version_of

BANDS = 16  # of 8 rows, as rensa's documentation has it for .8


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()

    def find() -> tuple[list[str], list[str], list[tuple[int, int]]]:
        ids, texts = read(data / "near/documents.parquet")
        hashes, index = [], RMinHashLSH(0.8, 128, BANDS)
        for at, text in enumerate(texts):
            minhash = RMinHash(128, 42)
            minhash.update(list(shingles(text)))
            index.insert(at, minhash)
            hashes.append(minhash)
        pairs = {(other, at) for at, minhash in enumerate(hashes) for other in index.query(minhash)}
        return ids, texts, sorted(pair for pair in pairs if pair[0] < pair[1])

    ids, texts, pairs = watch.time("find", find)
    watch.time("write", lambda: write(scratch / "kept.parquet", ids, texts, keep_first(ids, pairs)))

    def verify() -> list[tuple[int, int]]:
        held = {at: shingles(texts[at]) for at in {at for pair in pairs for at in pair}}
        return [
            (one, two)
            for one, two in pairs
            if len(held[one] & held[two]) >= 0.8 * len(held[one] | held[two])
        ]

    verified = watch.time("verify", verify)
    watch.say(
        out,
        version=version_of("rensa"),
        pairs=[(ids[one], ids[two]) for one, two in pairs],
        verified=[(ids[one], ids[two]) for one, two in verified],
    )


if __name__ == "__main__":
    main()
