"""Sharding of parameters, gradients and optimiser state over the processes of a run (FSDP2), without a new format.

The first process also keeps the weights whole, in the memory of its host: it measures and saves for all. So every
checkpoint is what it would be without sharding, and a run may continue with or without it, on any number of processes.
Random values inside the module are drawn from one stream, so that they do not depend on the number of processes either.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from beit.data import Purpose, generator
from beit.engine.background import HostCopies
from beit.models_torch.encoder import EncoderLayer
from beit.models_torch.layers import DropPath


def divided(module: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Return a copy of a module, divided over the processes: layer by layer, and the rest as one.

    The parameters of a layer are whole on a device only while it computes. What the module refers to without being made
    of it (tokenizers, teachers) is not copied.
    """
    own = deepcopy(module, _referred(module))
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    policy = travelling(accelerator.device, accelerator.mixed_precision)
    for layer in [part for part in own.modules() if isinstance(part, EncoderLayer)]:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(own, mesh=mesh)
    return own


def without_values(module: nn.Module) -> nn.Module:
    """Return a copy of a module whose parameters and buffers take no memory, until values are assigned to them."""
    memo = _referred(module)
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return deepcopy(module, memo)


def _referred(module: nn.Module) -> dict[int, Any]:
    """Return what a module refers to without being made of it, for a deep copy that leaves it alone."""
    internal = vars(nn.Module())
    return {id(value): value for name, value in vars(module).items() if name not in internal}


def travelling(device: torch.device, precision: str) -> MixedPrecisionPolicy:
    """Return the types in which the parameters of layers and their gradients travel.

    Under bf16 on a GPU parameters are gathered in bf16, and gradients are added up in float32. Activations are not
    cast: autocast chooses their types, so that the residual stream stays in float32. A CPU keeps float32, because its
    layer norms want weights of the type of their input.
    """
    half = torch.bfloat16 if device.type == "cuda" and precision == "bf16" else None
    return MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)


@contextmanager
def without_gradient_sync(module: Any, accelerator: Accelerator) -> Generator[None]:
    """Add up gradients in the block without sending them to the other processes."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(False)
        yield
        module.set_requires_gradient_sync(True)
    else:
        with accelerator.no_sync(module):
            yield


def local_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds, which shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a whole tensor, gathered from its parts; all processes have to call."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, which all processes have, on the device of another one and sharded like it."""
    if not isinstance(like, DTensor):
        # in its memory format too: a fused optimiser goes through weights and moments as they lie in memory
        return torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
    # no process has to be asked: all have read the same file
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def gathered(tensors: Mapping[str, Tensor], keeps: bool, copies: HostCopies | None = None) -> dict[str, Tensor]:
    """Return tensors whole in the memory of the host, one gathered after the other; nothing where `keeps` is false.

    Args:
        tensors: By name.
        keeps: Whether this process wants them.
        copies: What makes copies of them; None: a tensor that is there already is returned itself.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if keeps or isinstance(tensor, DTensor):
            complete = full_tensor(tensor.detach())
            if keeps:
                found[name] = complete.cpu().contiguous() if copies is None else copies.take(name, complete)
    return found


def step_seed(seed: int, step: int, stream: int) -> int:
    """Return the seed of everything random inside the model (drop path, dropout, Gumbel noise) at a step."""
    return int(generator(seed, Purpose.MODEL, step, stream).integers(2**63))


def shared_stream(module: nn.Module, rank: int, world: int, together: int = 1) -> int:
    """Return the stream that a process draws from, one for all where nothing but drop path is drawn.

    Drop path then draws for the batch of all processes and each takes its rows, so that results do not depend on the
    number of processes. Dropout and Gumbel noise draw for single values; drawing them for everyone would cost every
    process the work of all, so each draws its own, and with them drop path does too. Samples are dealt `together` at a
    time.
    """
    paths = [part for part in module.modules() if isinstance(part, DropPath) and part.rate > 0]
    if not paths or any(isinstance(part, nn.Dropout) and part.p > 0 for part in module.modules()):
        return rank
    for path in paths:
        path.rows = (rank, world, together)
    return 0
