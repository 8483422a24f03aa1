"""Scale of the loss under fp16, whose smallest number is larger than many gradients.

The loss is multiplied before the backward pass, and the gradients are divided after it. A step whose gradients overflow
is left out, and the scale halved; after 2,000 steps without one it is doubled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beit.errors import CheckpointError
from beit.files import read_json

FILE_NAME = "loss_scale.json"
_LEAST = 1.0  # a scale below this is of no use: the gradients themselves are not finite


class LossScale:
    """The scale of the loss of a run.

    Args:
        scaler: Of the accelerator, which scales the loss.
    """

    def __init__(self, scaler: Any) -> None:
        self._scaler = scaler

    def unscale(self, optimiser: Any) -> None:
        """Divide the gradients by the scale, and take note of those that are not finite."""
        self._scaler.unscale_(optimiser)

    def step(self, optimiser: Any, norm: Tensor) -> dict[str, Tensor]:
        """Update the parameters, and return the norm of the gradients, and the scale if there is one.

        The norm of a step that is left out is 0, unless the scale has come to its end: then the run has diverged.
        """
        scale = self._scaler.scale(norm.new_ones(()))  # as a tensor: to ask for the number would wait for the GPU
        self._scaler.step(optimiser)
        self._scaler.update()
        left_out = ~torch.isfinite(norm) & (scale >= _LEAST)
        return {"grad_norm": norm.where(~left_out, 0.0), "loss_scale": scale}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return self._scaler.state_dict()

    def load(self, folder: Path) -> None:
        """Go on with the scale of a checkpoint; one that was made in another precision has none.

        Raises:
            CheckpointError: If it is damaged.
        """
        path = folder / FILE_NAME
        if not path.exists():
            return
        state = read_json(path, "the scale of a loss", f"remove the folder {folder}", CheckpointError)
        try:
            self._scaler.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged ({error!r}); remove the folder {folder}") from None
