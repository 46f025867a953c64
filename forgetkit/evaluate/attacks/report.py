"""What an attack is given, and what it says: per span, worst first, and a curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.sample import Sample
from forgetkit.forget_set import Example, ForgetSet
from forgetkit.progress import Progress
from forgetkit.results import Estimate
from forgetkit.seeds import generator

if TYPE_CHECKING:
    from forgetkit.evaluate.measure import Judge
    from forgetkit.lm.load import LanguageModel

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What an attack works with.

    Attributes:
        after: loads the unlearned model, merged, a fresh copy each time.
        retain_model: loads the retain model, or None.
        forget_set: the splits.
        samples: what the ordinary evaluation measured.
        config: settings.
        progress: told of each pass.
        judge: labels answers of pairs: comply, refuse or derail.
        has_adapter: whether the unlearned model is a base with an adapter.
        base: loads the model under the adapter, where it is not the model before; else None.
    """

    after: Callable[[], LanguageModel]
    retain_model: Callable[[], LanguageModel] | None
    forget_set: ForgetSet
    samples: Sequence[Sample]
    config: EvaluateConfig
    progress: Progress
    judge: Callable[[], Judge]
    has_adapter: bool
    base: Callable[[], LanguageModel] | None = None

    def rows(self, split: str) -> list[Example]:
        """Return the rows of a split that attacks use: at most `attack_rows`, drawn by the seed."""
        held = self.forget_set.splits[split]
        most = self.config.attack_rows
        if len(held) <= most:
            return list(held)
        picks = generator(self.config.seed, f"attack {split}").permutation(len(held))[:most]
        return [held[place] for place in sorted(int(p) for p in picks)]

    def of(self, model: str, split: str) -> dict[str, Sample]:
        """Return what a model did with a split, by example id."""
        chosen = (s for s in self.samples if (s.model, s.split) == (model, split))
        return {s.example.example_id: s for s in chosen}


@dataclass(frozen=True)
class AttackReport:
    """What one attack recovered.

    Attributes:
        name: of the attack.
        rows: one a span, worst first: example_id, split, `recovered` (share of the span that came
            back, in [0, 1]), `without` (the same without the attack) and the attack's own numbers.
        curve: series to points (x, value, low, high); low and high may be None.
        axis: what x is.
        value: what the curve shows.
        settings: what the attack was run with.
        reason: why there is no number; empty otherwise.
    """

    name: str
    rows: tuple[Row, ...] = ()
    curve: Mapping[str, Sequence[Sequence[float | None]]] = field(default_factory=dict)
    axis: str = ""
    value: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    def content(self) -> dict[str, Any]:
        """Return the report as it stands in `results.json`."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> AttackReport:
        """Return the report that `content` gave."""
        return cls(**{**content, "rows": tuple(content["rows"])})


def worst_first(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Sort rows by what was recovered, most first; then by id."""
    order = sorted(rows, key=lambda r: (-float(r["recovered"] or 0.0), str(r["example_id"])))
    return tuple(order)


def point(x: float, estimate: Estimate) -> list[float | None]:
    """Return a point of a curve."""
    return [x, estimate.value, estimate.low, estimate.high]
