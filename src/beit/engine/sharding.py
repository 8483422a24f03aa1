"""Parameters, gradients and optimiser state divided over the processes of a run: torch's FSDP2, without a new format.

The first process also keeps the weights whole, in the memory of its host: it measures and saves for all. So every
checkpoint is what it would be without, and a run may continue divided or not, over any number of processes. Random
values inside the module are drawn from one stream, so that they do not depend on the number of processes either.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from beit.data import Purpose, generator
from beit.errors import ConfigError
from beit.models_torch.encoder import EncoderLayer
from beit.models_torch.layers import DropPath
from beit.settings.groups import RunSettings, TrainSettings


def check_sharding(run: RunSettings, train: TrainSettings, prefix: str = "") -> None:
    """Refuse to compile what is divided: gathering the parameters of a layer breaks the one graph that we promise.

    Raises:
        ConfigError: Naming both settings; `prefix` stands before the name of the second.
    """
    if run.sharding == "fsdp" and train.compile:
        raise ConfigError(
            f"{prefix}train.compile is true and run.sharding is fsdp, which cannot be compiled whole; set "
            f"{prefix}train.compile to false, or run.sharding to ddp"
        )


def divided(module: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Return a copy of a module, divided over the processes: layer by layer, and the rest as one.

    The parameters of a layer are whole on a device only while it computes. What the module refers to without being made
    of it (tokenizers, teachers) is not copied.
    """
    internal = vars(nn.Module())
    referred = {id(value): value for name, value in vars(module).items() if name not in internal}
    own = deepcopy(module, referred)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for layer in [part for part in own.modules() if isinstance(part, EncoderLayer)]:
        fully_shard(layer, mesh=mesh)
    fully_shard(own, mesh=mesh)
    return own


@contextmanager
def kept_apart(module: Any, accelerator: Accelerator) -> Generator[None]:
    """Add up gradients inside without sending them to the other processes."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(False)
        yield
        module.set_requires_gradient_sync(True)
    else:
        with accelerator.no_sync(module):
            yield


def own_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds, which shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor put together from its parts; all processes have to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def as_held(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, which all processes have, as another one is held: where it is, and divided like it."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    # no process has to be asked: all have read the same file
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def gathered(tensors: Mapping[str, Tensor], keeps: bool) -> dict[str, Tensor]:
    """Return tensors whole in the memory of the host, one gathered after the other; nothing where `keeps` is false."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if keeps or isinstance(tensor, DTensor):
            complete = whole(tensor.detach())
            if keeps:
                found[name] = complete.cpu().contiguous()
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
