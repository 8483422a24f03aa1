"""What is random inside the model in a step, over all processes."""

from __future__ import annotations

from torch import nn

from beit.data import Purpose, generator
from beit.models_torch.layers import DropPath


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
