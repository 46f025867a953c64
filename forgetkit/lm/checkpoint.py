"""A training's state on disk: what it takes to go on as if nothing had happened.

One file, replaced atomically, so that a kill leaves the last whole one. It begins with the digest
of what follows: a state that a disk has damaged is not taken up. It holds tensors and plain values
only and is read as such.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.files import write_bytes

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.train import Outcome

DIGEST = 32  # bytes of a SHA-256


@dataclass
class Checkpoint:
    """The state after an optimiser step.

    Attributes:
        run: digest of what the training is: model, data, settings.
        step: optimiser steps done.
        trained: the weights that training moves.
        best: those of the best look, if another.
        best_loss: what that look said.
        outcome: history and counts until here.
        optimizer: its state.
        schedule: the learning rate's state.
        random: state of the generators that dropout draws from.
        memory: numbers that the method keeps.
    """

    run: str
    step: int
    trained: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor] | None
    best_loss: float
    outcome: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    random: list[torch.Tensor]
    memory: dict[str, float]

    def save(self, path: Path) -> None:
        """Write it.

        Raises:
            StorageError: the disk is full or broken; the file that was there stays.
        """
        import torch

        content = io.BytesIO()  # torch makes an error of its own of a full disk
        torch.save(vars(self), content)
        held = content.getvalue()
        write_bytes(path, hashlib.sha256(held).digest() + held)

    @classmethod
    def of(cls, path: Path | None, run: str) -> Checkpoint | None:
        """Read the state of the same training, or None where there is none that is whole."""
        import torch

        if path is None or not path.is_file():
            return None
        try:
            held = path.read_bytes()
            if hashlib.sha256(held[DIGEST:]).digest() != held[:DIGEST]:
                return None
            content = io.BytesIO(held[DIGEST:])
            found = cls(**torch.load(content, weights_only=True, map_location="cpu"))
        except (RuntimeError, ValueError, TypeError, OSError, EOFError, pickle.UnpicklingError):
            return None
        return found if found.run == run else None


def outcome_values(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as plain values."""
    return asdict(outcome)


def random_state() -> list[torch.Tensor]:
    """Return the state of torch's generators: the CPU's, then each GPU's."""
    import torch

    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def restore_random(states: list[torch.Tensor]) -> None:
    """Put such a state back; of GPUs only if there are as many."""
    import torch

    torch.set_rng_state(states[0])
    if len(states) - 1 == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(states[1:])
