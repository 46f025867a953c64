"""A frozen base in pieces: each process holds its share of every decoder layer (FSDP).

Zhao et al. 2023, arXiv:2304.11277. A layer is put together while it runs, forward and backward.
Adapter, embeddings and head are whole in every process, so a training does what it does data
parallel: gradients of the adapter are averaged, and losses read the head. The pieces go round in
collective steps, so every process runs the model equally often (`same_in_all`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.lm.layers import decoder_layers
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.ranks import own_device, world_size

if TYPE_CHECKING:
    import torch


def shard(language_model: LanguageModel) -> LanguageModel:
    """Cut the frozen weights of the decoder layers over all processes, and place the rest.

    Args:
        language_model: on the CPU, with an adapter; changed.

    Raises:
        InputError: the architecture keeps its layers in no list.
    """
    from accelerate import PartialState
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    from forgetkit.lm.packed import can_pack
    from forgetkit.lm.shared import can_share

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
    for tried in (can_pack, can_share):  # in all processes at once
        tried(model)
    return language_model


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


def same_in_all(splits: list[bool], device: torch.device) -> None:
    """Check that every process has the same splits in its step: each runs the model as often.

    Raises:
        InputError: one has a split that another lacks.
    """
    import torch
    from torch import distributed

    found = torch.tensor(splits, dtype=torch.float32, device=device)
    distributed.all_reduce(found)
    if bool(((found != 0) & (found != world_size())).any()):
        raise InputError(
            "the processes' shares of a step hold different splits",
            mend="With a model in pieces, batch_size times retain_share is a whole number.",
        )
