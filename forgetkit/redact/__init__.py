"""Redact: the corpus without the accepted spans, in its own format, every other byte as it was.

from forgetkit.redact import RedactConfig, redact
redact([Path("corpus")], Path("mined/spans.parquet"), Path("clean"), accept_all=True)
"""

from forgetkit.redact.config import RedactConfig
from forgetkit.redact.stage import RedactResult, preview, redact

__all__ = ["RedactConfig", "RedactResult", "preview", "redact"]
