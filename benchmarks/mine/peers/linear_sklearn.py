"""scikit-learn's hashed word 1-2-grams and a logistic regression over the same documents."""

from __future__ import annotations

import pyarrow.parquet as pq
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from timing import Stopwatch, arguments, version_of


def main() -> None:
    data, _, out = arguments()
    watch = Stopwatch()
    texts = pq.read_table(data / "near/documents.parquet")["text"].to_pylist()
    hashing = HashingVectorizer(ngram_range=(1, 2), n_features=2**17, alternate_sign=False)
    model = LogisticRegression(max_iter=20).fit(
        hashing.transform(texts[:200]), [at % 2 for at in range(200)]
    )
    watch.time("find", lambda: model.predict_proba(hashing.transform(texts)))
    size = sum(len(text.encode()) for text in texts)
    watch.say(out, version=version_of("scikit-learn"), bytes=size)


if __name__ == "__main__":
    main()
