"""Near duplicates with datasketch: Python word 5-grams, MinHash of 128, MinHashLSH at .8."""

from __future__ import annotations

from datasketch import MinHash, MinHashLSH
from shingling import keep_first, read, shingles, write
from timing import Stopwatch, arguments, version_of


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()

    def find() -> tuple[list[str], list[str], list[tuple[int, int]]]:
        ids, texts = read(data / "near/documents.parquet")
        index, pairs = MinHashLSH(threshold=0.8, num_perm=128), []
        for at, text in enumerate(texts):
            minhash = MinHash(num_perm=128)
            minhash.update_batch([shingle.encode() for shingle in shingles(text)])
            pairs += [(other, at) for other in index.query(minhash)]
            index.insert(at, minhash)
        return ids, texts, pairs

    ids, texts, pairs = watch.time("find", find)
    watch.time("write", lambda: write(scratch / "kept.parquet", ids, texts, keep_first(ids, pairs)))
    named = [(ids[one], ids[two]) for one, two in pairs]
    watch.say(out, version=version_of("datasketch"), pairs=named)


if __name__ == "__main__":
    main()
