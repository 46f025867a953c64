"""Which models an evaluation compares, and how results name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL


@dataclass(frozen=True)
class Models:
    """The models of one evaluation.

    Attributes:
        after: the unlearned model; with `adapter`, the model that it is put on.
        adapter: an adapter on `after`; then before is the same model without it.
        before: the target model.
        retain_model: a model trained without the forget set: the yardstick, when there is one.
        endpoint: address of a server that answers for `after`, which is its name there.
    """

    after: str
    adapter: Path | None = None
    before: str | None = None
    retain_model: str | None = None
    endpoint: str | None = None

    @property
    def target(self) -> str | None:
        """Return the model before, if any."""
        return self.before or (self.after if self.adapter else None)

    def named(self, identity: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """Return role to name and digest, as results show them."""
        after = self.after or self.endpoint or ""
        found = {AFTER: {"name": shown(after), "sha256": str(identity["model"])}}
        if self.target is not None:
            sha256 = identity["before"] or identity["model"]
            found[BEFORE] = {"name": shown(self.target), "sha256": str(sha256)}
        if self.retain_model is not None:
            sha256 = str(identity["retain_model"])
            found[RETAIN_MODEL] = {"name": shown(self.retain_model), "sha256": sha256}
        return found


def shown(model: str) -> str:
    """Return a model's name without the folders of this machine."""
    path = Path(model)
    return "/".join(path.parts[-2:]) if path.is_dir() else model
