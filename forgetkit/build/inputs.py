"""What `build` reads, and the digest of all of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetkit.build.ready import chosen_part
from forgetkit.decisions import current
from forgetkit.errors import InputError
from forgetkit.files import sha256_tree


@dataclass(frozen=True)
class Inputs:
    """What `build` reads; every path may be a file or a folder.

    Attributes:
        spans: a spans file, or None.
        decisions: a decisions file; without it, spans count only with `accept_all`.
        accept_all: every span without a decision counts as accepted.
        ready: ready forget data: files of a shape that `shapes` knows, or folders of splits.
        prompts: prompts whose answers by the target model are to be forgotten.
        works: the protected works that `mine` was given.
        retain: ordinary data of the same form.
        holdout: data like forget that no one trains on; works for text, prompts for pairs.
        general: ordinary text to measure utility on.
        refusals: answers that refuse, for the mismatch kind `refusal`.
        alternatives: pairs of forget prompt and other answer, for the kind `alternative`.
        rephrased: rows that say forget questions and answers in other words, as probes.
        probes: retain rows to evaluate on, whole; a row's group is the name of its file.
        model: the target model, for ranking and own answers.
        reference: a model that knows neither forget nor holdout; it says how surprising each is.
    """

    spans: Path | None = None
    decisions: Path | None = None
    accept_all: bool = False
    ready: Sequence[Path] = ()
    prompts: Path | None = None
    works: Sequence[Path] = ()
    retain: Sequence[Path] = ()
    holdout: Sequence[Path] = ()
    general: Sequence[Path] = ()
    refusals: Path | None = None
    alternatives: Path | None = None
    rephrased: Sequence[Path] = ()
    probes: Sequence[Path] = ()
    model: str | None = None
    reference: str | None = None

    def digests(self) -> dict[str, Any]:
        """Return the SHA-256 of every input file by its role, the decisions, and the model's."""
        from forgetkit.lm.load import model_identity

        self.check_files()
        found: dict[str, Any] = {"accept_all": self.accept_all}
        for role, paths in self._paths().items():
            for number, path in enumerate(paths):
                plain, _ = chosen_part(path)
                place = f"{role}/{number}/{path.name}"
                found |= {f"{place}/{name}": d for name, d in sha256_tree(plain).items()}
        if self.decisions is not None:
            decided = current(self.decisions)
            found["decisions"] = {name: d.accepted for name, d in sorted(decided.items())}
        for role, model in (("model", self.model), ("reference", self.reference)):
            if model is not None:
                found[role] = model_identity(model)
        return found

    def check_files(self) -> None:
        """Check that every file and folder is there.

        Raises:
            InputError: one is not.
        """
        for path in itertools.chain(*self._paths().values()):
            plain, _ = chosen_part(path)
            if not plain.exists():
                raise InputError("no such file or folder", where=str(plain))

    def _paths(self) -> dict[str, list[Path]]:
        single = {
            "spans": self.spans,
            "prompts": self.prompts,
            "refusals": self.refusals,
            "alternatives": self.alternatives,
        }
        several = {
            "ready": self.ready,
            "works": self.works,
            "retain": self.retain,
            "holdout": self.holdout,
            "general": self.general,
            "rephrased": self.rephrased,
            "probes": self.probes,
        }
        found = {role: [path] for role, path in single.items() if path is not None}
        return found | {role: list(paths) for role, paths in several.items()}
