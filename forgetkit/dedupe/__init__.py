"""Group copies: of documents in a corpus, or of spans that `mine` found.

from forgetkit.dedupe import dedupe, dedupe_spans
dedupe([Path("corpus")], Path("kept"))
dedupe_spans(Path("mined/spans.parquet"), Path("clusters"))
"""

from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.outcome import DedupeResult
from forgetkit.dedupe.passages import dedupe_spans, holds_spans
from forgetkit.dedupe.stage import dedupe, dedupe_shard, preview

__all__ = [
    "DedupeConfig",
    "DedupeResult",
    "dedupe",
    "dedupe_shard",
    "dedupe_spans",
    "holds_spans",
    "preview",
]
