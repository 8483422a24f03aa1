"""An exponential moving average of a model's weights, which often is the better model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from beit.weights import check_fit, read_safetensors

FILE_NAME = "average.safetensors"


class MovingAverage:
    """The average over the steps of a run; it starts as a copy of the model.

    Args:
        model: What is averaged, buffers included.
        decay: Share of the average that one step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._average: Any = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    @property
    def model(self) -> nn.Module:
        """The averaged model."""
        return self._average.module

    def update(self) -> None:
        """Take note of the weights after a step."""
        self._average.update_parameters(self._model)

    def save(self, folder: Path) -> None:
        """Write the average into a checkpoint."""
        tensors: dict[str, Tensor] = self._average.state_dict()
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / FILE_NAME)

    def load(self, folder: Path) -> None:
        """Fill the average from a checkpoint.

        Raises:
            CheckpointError: If it is missing or belongs to another model.
        """
        found, own = read_safetensors(folder / FILE_NAME), self._average.state_dict()
        there, here = ({name: tuple(tensor.shape) for name, tensor in named.items()} for named in (found, own))
        check_fit(str(folder / FILE_NAME), there, here)
        self._average.load_state_dict(found)
