"""Which models an evaluation compares, and how results name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import Opener
from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL

if TYPE_CHECKING:
    from forgetkit.lm.load import LanguageModel


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

    def flags(self) -> dict[str, str | Path | None]:
        """Return the flags of the command line that name these models."""
        return {
            "model": self.after,
            "adapter": self.adapter,
            "before": self.before,
            "retain-model": self.retain_model,
            "endpoint": self.endpoint,
        }

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


def openers_of(models: Models, config: EvaluateConfig) -> dict[str, Opener | None]:
    """Return a loader by role, None where there is no such model."""
    return {
        BEFORE: opener(models.target, None, config) if models.target else None,
        AFTER: None if models.endpoint else opener(models.after, models.adapter, config),
        RETAIN_MODEL: opener(models.retain_model, None, config) if models.retain_model else None,
    }


def opener(name: str, adapter: Path | None, config: EvaluateConfig) -> Opener:
    """Return a function that loads a model when it is first needed."""

    @cache
    def load() -> LanguageModel:
        from forgetkit.lm.adapter import load_adapter
        from forgetkit.lm.load import load_model

        loaded = load_model(name, dtype=config.dtype)
        return load_adapter(loaded, adapter) if adapter else loaded

    return load
