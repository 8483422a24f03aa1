"""What the loop trains with: torch, or JAX."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from accelerate import Accelerator
from torch import Tensor

from beit.engine.plan import Objective, Plan
from beit.engine.run_folder import RunFolder
from beit.engine.torch_backend import Trainee


class Trained(Protocol):
    """What takes the steps of a run, and keeps everything that a checkpoint holds.

    Attributes:
        start: Finished steps.
        stream: What is random inside torch's module is drawn from.
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
        """Inside, the objective's own model has the weights of now."""
        ...

    def gather(self) -> None:
        """Give the objective's own model the weights of now."""
        ...

    def save(self, step: int) -> None:
        """Write the checkpoint after `step` finished steps."""
        ...

    def save_average(self) -> None:
        """Write the averaged model, if there is one, into the run folder."""
        ...


def make_trainee(plan: Plan, objective: Objective, folder: RunFolder, accelerator: Accelerator) -> Trained:
    """Return what trains an objective, from the newest checkpoint if there is one.

    Raises:
        ConfigError: If JAX is asked for and missing, or what it cannot do.
        CheckpointError: If the checkpoint belongs to another run.
    """
    if plan.run.framework == "torch":
        return Trainee(plan, objective, folder, accelerator)
    from beit.engine.jax_backend import JaxTrainee  # JAX is an extra

    return JaxTrainee(plan, objective, folder, accelerator)
