"""Several processes that train one model: who is who, and what they average.

`torchrun` and `accelerate launch` say in the environment how many there are. Each reads other
items; gradients, losses and the numbers that a method keeps are averaged after every backward
pass, so the outcome is that of one process with a batch as large as all of theirs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from forgetkit.errors import UsageError

if TYPE_CHECKING:
    import torch


def world_size() -> int:
    """Return the number of processes; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_rank() -> int:
    """Return the number of this process, from 0; the first one writes."""
    return int(os.environ.get("RANK", "0"))


def check_launcher(*, pieces: bool) -> None:
    """Check that the launcher asks for what can be done: losses read the model past any wrapper.

    Args:
        pieces: the model may be in pieces, which `forgetkit.lm.sharded` makes.

    Raises:
        UsageError: the launcher asks for FSDP where that cannot be, or for DeepSpeed.
    """
    for name in ("FSDP", "DEEPSPEED"):
        if _asks_for(name) and not (pieces and name == "FSDP"):
            raise UsageError(
                "one model in pieces over several processes cannot be trained so",
                found=f"a launcher that asks for {name}",
                mend="Launch it data parallel, as `torchrun` or `accelerate launch --multi_gpu` "
                "do; of FSDP, `unlearn` with an adapter cuts its frozen weights up.",
            )


def asks_for_pieces() -> bool:
    """Say whether the launcher asks for FSDP."""
    return _asks_for("FSDP")


@contextlib.contextmanager
def pieces_of_our_own() -> Iterator[None]:
    """Let the library not hear that the launcher asks for FSDP, for a while."""
    asked = os.environ.get("ACCELERATE_USE_FSDP")
    try:
        if asked is not None:
            os.environ["ACCELERATE_USE_FSDP"] = "false"
        yield
    finally:
        if asked is not None:
            os.environ["ACCELERATE_USE_FSDP"] = asked


def check_several() -> None:
    """Check that there are several processes.

    Raises:
        UsageError: there is one.
    """
    if world_size() == 1:
        raise UsageError(
            "one process has nobody to share the weights with",
            found="shard",
            mend="Start several: `torchrun --nproc_per_node 2 -m forgetkit_cli unlearn ...`.",
        )


def wait_for_all() -> None:
    """Wait until every process is here."""
    from torch import distributed

    distributed.barrier()


def _asks_for(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{name}", "").lower() in ("1", "true", "yes")


def own_device() -> str | None:
    """Return the GPU of this process among several on a machine; None where there is no choice."""
    import torch

    if world_size() == 1 or not torch.cuda.is_available():
        return None
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Average the gradients of all processes, in one message."""
    import torch
    from torch import distributed

    gradients = [p.grad for p in parameters if p.grad is not None]
    if world_size() == 1 or not gradients:
        return
    flat = torch.cat([gradient.reshape(-1).float() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world_size()
    start = 0
    for gradient in gradients:
        end = start + gradient.numel()
        gradient.copy_(flat[start:end].view_as(gradient))
        start = end


def average_numbers(numbers: dict[str, float], device: torch.device) -> dict[str, float]:
    """Return the mean over all processes of numbers that each has by the same names."""
    import torch
    from torch import distributed

    if world_size() == 1 or not numbers:
        return numbers
    names = sorted(numbers)
    values = torch.tensor([numbers[name] for name in names], dtype=torch.float32, device=device)
    distributed.all_reduce(values)
    return dict(zip(names, (values / world_size()).tolist(), strict=True))
