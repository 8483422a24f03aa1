"""Exponential moving average of a model's weights, which often is the better model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from beit.engine.background import HostCopies
from beit.engine.sharding import gathered, local_part, placed_like
from beit.models_torch.loading import read_safetensors
from beit.weights import check_shapes

FILE_NAME = "average.safetensors"
_MODULE, _UPDATES = "module.", "n_averaged"  # the names that torch's AveragedModel writes


class MovingAverage:
    """Average over the steps of a run; it starts as a copy of the model, and is sharded as the model is.

    Args:
        model: What is averaged, buffers included.
        decay: Share of the average that one step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._mix: Any = get_ema_multi_avg_fn(decay)
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take note of the weights after a step."""
        # asked every time: to be shared by processes, a model gets other tensors for its buffers
        pairs = [(local_part(self._average[name]), local_part(now)) for name, now in self._model.state_dict().items()]
        floating = [pair for pair in pairs if pair[0].is_floating_point()] if self._updates else []
        if floating:
            averages, weights = (list(side) for side in zip(*floating, strict=True))
            self._mix(averages, weights, self._updates)
        for average, now in pairs:
            if not (self._updates and average.is_floating_point()):  # the first weights, and what only counts
                average.copy_(now)
        self._updates += 1

    def gathered(self, keeps: bool) -> dict[str, Tensor]:
        """Return the averaged model's tensors, whole; all processes have to ask, those that do not keep get nothing."""
        return gathered(self._average, keeps)

    def state(self, keeps: bool, copies: HostCopies) -> dict[str, Tensor]:
        """Return copies of what a checkpoint stores; all processes have to ask, those that do not keep get nothing."""
        named = {_MODULE + name: tensor for name, tensor in gathered(self._average, keeps, copies).items()}
        return {**named, _UPDATES: torch.tensor(self._updates)} if keeps else {}

    def load(self, folder: Path) -> None:
        """Fill the average from a checkpoint.

        Raises:
            CheckpointError: If it is missing or belongs to another model.
        """
        found: dict[str, Tensor] = read_safetensors(folder / FILE_NAME)
        own = {_MODULE + name: tuple(tensor.shape) for name, tensor in self._average.items()}
        check_shapes(
            str(folder / FILE_NAME), {name: tuple(t.shape) for name, t in found.items()}, {**own, _UPDATES: ()}
        )
        self._updates = int(found[_UPDATES])
        for name, tensor in self._average.items():
            local_part(tensor).copy_(local_part(placed_like(found[_MODULE + name], tensor)))
