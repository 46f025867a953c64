"""Settings of `redact`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forgetkit.config import Config


class RedactConfig(Config):
    """Settings of `redact`: what becomes of a document that holds an accepted span."""

    mode: Literal["drop", "cut", "mask"] = Field(
        "drop",
        description="drop the document, cut the span out of it, or mask the span by a placeholder.",
    )
    placeholder: str = Field(
        "[removed]",
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*$",
        description="What stands in place of a masked span; one line, not blank.",
    )
    columns: dict[str, str] | None = Field(
        None,
        description="Names of the columns id, text, prompt, answer, as `mine` was given them.",
    )
