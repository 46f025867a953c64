"""Text files: one document each."""

from __future__ import annotations

from pathlib import Path

from forgetkit.redact.edits import applied
from forgetkit.redact.marks import Redaction

_BOM = b"\xef\xbb\xbf"


def rewritten_text(path: Path, redaction: Redaction) -> bytes | None:
    """Return a text file without the spans; None when nothing of it stays."""
    raw = path.read_bytes()
    redaction.rows += 1
    if 1 not in redaction.marks:
        return raw
    head = _BOM if raw.startswith(_BOM) else b""
    try:
        text = raw.removeprefix(head).decode("utf-8")
    except UnicodeDecodeError:
        text = ""  # it had no spans, so these are of another file
    edits = redaction.judge(1, {"id": path.stem, "text": text})
    return None if edits is None else head + applied(text, edits["text"]).encode("utf-8")
