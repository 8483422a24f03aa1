"""Interface of the backends of the loop, `torch_backend.py` and `jax_backend.py`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn


class Backend(Protocol):
    """Takes the steps of a run, and holds everything that a checkpoint stores.

    Attributes:
        start: Finished steps.
        stream: Number of the random stream that torch's module draws from.
    """

    start: int
    stream: int

    def train(self) -> None:
        """Switch to training, after a measurement made something else of the model."""
        ...

    def step(self, step: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one optimiser step with a prepared batch, and return its scalars, `loss` and `grad_norm` among them."""
        ...

    def gathered(self) -> AbstractContextManager[None]:
        """Inside, the task's own model has the weights of now."""
        ...

    def gather(self) -> None:
        """Give the task's own model the weights of now."""
        ...

    def save(self, step: int) -> None:
        """Write the checkpoint after `step` finished steps, or begin to."""
        ...

    def check(self) -> None:
        """Raise what the newest checkpoint failed with, if it is known already."""
        ...

    def settle(self) -> None:
        """Wait until the newest checkpoint is on the disk; it may be written while the next steps run."""
        ...

    def averaged(self) -> nn.Module | None:
        """Return a copy of the model with the moving average of its weights; None if none is kept, or not here."""
        ...
