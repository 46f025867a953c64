"""Columns of the tables that travel between stages (Arrow schemas, imported lazily).

One row schema a table; every stage reads and writes it through these.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

REQUEST = "forgetkit.request/1"
RESULTS = "forgetkit.results/1"
RUN = "forgetkit.run/1"
MANIFEST = "forgetkit.manifest/1"
LEDGER = "forgetkit.ledger/1"


@cache
def spans() -> pa.Schema:
    """Return the columns of `spans.parquet`: one row a span, offsets in code points."""
    import pyarrow as pa

    return pa.schema(
        [
            ("span_id", pa.string()),
            ("doc_id", pa.string()),
            ("source", pa.string()),
            ("field", pa.string()),
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("detector", pa.string()),
            ("category", pa.string()),
            ("score", pa.float64()),
            ("work_id", pa.string()),
            ("work_start", pa.int64()),
            ("work_end", pa.int64()),
            ("similarity", pa.float64()),
            ("edit_class", pa.string()),
            ("is_quote", pa.bool_()),
            ("cluster_id", pa.string()),
            ("text_sha256", pa.string()),
            ("text", pa.string()),
            ("prompt", pa.string()),
            ("answer", pa.string()),
        ]
    )


@cache
def examples() -> pa.Schema:
    """Return the columns of every split of a forget set and of its probes.

    `kind` is text, pair or fact; `template` is plain (prompt and answer joined) or chat (the
    tokenizer's chat template); `variant` says which probe or mismatch kind a row is; `pair_of`
    names the forget example that a mismatch or probe belongs to; `memorization` is the target
    model's extraction strength on it before, or null; `answer_mask` lists the `[start, end)` of
    the answer, in code points, that take the loss (empty: all); `part` is A, B or empty: the side
    of a relearning test.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("example_id", pa.string()),
            ("kind", pa.string()),
            ("prompt", pa.string()),
            ("answer", pa.string()),
            ("template", pa.string()),
            ("variant", pa.string()),
            ("pair_of", pa.string()),
            ("group", pa.string()),
            ("work_id", pa.string()),
            ("source", pa.string()),
            ("weight", pa.float64()),
            ("memorization", pa.float64()),
            ("answer_mask", pa.list_(pa.list_(pa.int64()))),
            ("part", pa.string()),
        ]
    )


@cache
def samples() -> pa.Schema:
    """Return the columns of `samples.parquet`: what each number was computed from.

    Log-probabilities in nats, one an answer token; `mean` and `deviation` are those of a token
    drawn from the model (for min-k++); `similarity` is the cosine of completion and answer.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("model", pa.string()),
            ("split", pa.string()),
            ("example_id", pa.string()),
            ("kind", pa.string()),
            ("variant", pa.string()),
            ("prompt", pa.string()),
            ("answer", pa.string()),
            ("log_probability", pa.list_(pa.float32())),
            ("argmax_hit", pa.list_(pa.bool_())),
            ("completion", pa.string()),
            ("common_run", pa.int64()),
            ("answer_tokens", pa.int64()),
            ("answer_words", pa.int64()),
            ("label", pa.string()),
            ("fluency_nll", pa.float64()),
            ("mean", pa.list_(pa.float32())),
            ("deviation", pa.list_(pa.float32())),
            ("similarity", pa.float64()),
            ("template", pa.string()),
            ("pair_of", pa.string()),
            ("group", pa.string()),
            ("work_id", pa.string()),
            ("source", pa.string()),
        ]
    )
