"""Backends of the loop: torch or JAX."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor, nn

from beit.engine.run_folder import RunFolder
from beit.engine.task import Task
from beit.engine.torch_backend import TorchBackend


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
        """Write the checkpoint after `step` finished steps."""
        ...

    def averaged(self) -> nn.Module | None:
        """Return a copy of the model with the moving average of its weights; None if none is kept, or not here."""
        ...


def make_backend(task: Task[Any, Any], folder: RunFolder) -> Backend:
    """Return the backend that trains a task, at the newest checkpoint if there is one.

    Raises:
        ConfigError: If JAX is asked for and missing, or what it cannot do.
        CheckpointError: If the checkpoint belongs to another run.
    """
    if task.settings.run.framework == "torch":
        return TorchBackend(task, folder)
    from beit.engine.jax_backend import JaxBackend  # JAX is an extra

    return JaxBackend(task, folder)
