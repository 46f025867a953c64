"""A frozen base in pieces: each process holds its share of every decoder layer (FSDP).

Zhao et al. 2023, arXiv:2304.11277. A layer is put together while it runs, forward and backward.
Adapter, embeddings and head are whole in every process, so a training does what it does data
parallel: gradients of the adapter are averaged, and losses read the head. The pieces go round in
collective steps, so every process runs the model equally often (`check_even`).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError, UsageError
from forgetkit.lm.layers import decoder_layers
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.ranks import own_device, world_size

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.step import Item


def shard(language_model: LanguageModel) -> None:
    """Cut the frozen weights of the decoder layers over all processes, and place the rest.

    Args:
        language_model: on the CPU, with an adapter; changed.

    Raises:
        InputError: the architecture keeps its layers in no list.
        UsageError: this torch cannot leave an adapter whole, or leaves layers together.
    """
    from accelerate import PartialState
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor
    from torch.nn.parallel import DistributedDataParallel

    from forgetkit.lm.packed import packs
    from forgetkit.lm.shared import can_share

    if "ignored_params" not in inspect.signature(fully_shard).parameters:
        raise _too_old()
    model, where = language_model.model, own_device() or "cpu"
    layers = decoder_layers(model)
    PartialState(cpu=where == "cpu")  # joins the processes, as the library would later
    inside = {id(module) for layer in layers for module in layer.modules()}
    for module in model.modules():
        if id(module) not in inside:
            module._apply(lambda tensor: tensor.to(where), recurse=False)
    mesh = init_device_mesh(where.partition(":")[0], (world_size(),))
    for layer in layers:
        layer.to(where)
        moving = {p for p in layer.parameters() if p.requires_grad}
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=moving)
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    # The library's wrapper for several processes would send frozen weights round.
    named: Any = DistributedDataParallel
    named._set_params_and_buffers_to_ignore_for_model(model, frozen)
    packs(model, 1)  # whether it can is tried here, in all processes at once
    can_share(model)
    if any(not isinstance(p, DTensor) for layer in layers for p in _frozen(layer)):
        raise _too_old()


def _frozen(layer: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [p for p in layer.parameters() if not p.requires_grad]


def _too_old() -> UsageError:
    import torch

    return UsageError(
        "this torch cannot hold a frozen model in pieces",
        found=f"torch {torch.__version__}",
        mend="Install a newer one (2.13 is tested), or leave shard out.",
    )


def is_sharded(model: torch.nn.Module) -> bool:
    """Say whether the model is in pieces."""
    if world_size() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    try:
        return isinstance(decoder_layers(model)[0], FSDPModule)
    except InputError:
        return False


def held_share(model: torch.nn.Module) -> float:
    """Return the share of all weights that this process holds, in (0, 1]."""
    from torch.distributed.tensor import DTensor

    weights = list(model.parameters())
    held = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in weights)
    return held / sum(p.numel() for p in weights)


def check_even(items: Sequence[Item], size: int) -> None:
    """Check that in every forward pass all processes read the same splits.

    Args:
        items: of the whole training, in their order; passes of so many go round the processes.
        size: items of one pass.

    Raises:
        UsageError: in some pass they do not.
    """
    number = world_size()
    for start in range(0, len(items), size * number):
        passes = (items[start + size * n : start + size * (n + 1)] for n in range(number))
        held = {frozenset(k for item in one for k, rows in item.items() if rows) for one in passes}
        if len(held) > 1:
            raise UsageError(
                "of a model in pieces, every process reads the same splits in each forward pass",
                found=f"passes of {size} examples, some with retain rows and some without",
                mend="Choose batch_size and retain_share so that each has some; with "
                "forward_tokens a step is cut into smaller passes.",
            )
