"""What the first steps of a training took, and what that means for the whole."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import Accelerator

from beit.engine.hardware import peak_memory, state_bytes
from beit.engine.plan import Objective, Plan
from beit.engine.run_folder import RunFolder
from beit.engine.timed_steps import timed_steps


@dataclass(frozen=True)
class TrainingCost:
    """What the first steps of a training took on one process.

    Attributes:
        parameters: Of the model.
        pictures: To train on.
        steps: Of the whole run.
        processes: That share a batch.
        state: Bytes of weights, gradients and the optimiser.
        peak_memory: Bytes that this process held in the steps, weights and libraries included.
        seconds_per_step: Median of the timed steps, their data included.
        data_share: Share of that time in which the step waits for pictures.
    """

    parameters: int
    pictures: int
    steps: int
    processes: int
    state: int
    peak_memory: int
    seconds_per_step: float
    data_share: float


def training_cost(plan: Plan, run: Objective, accelerator: Accelerator) -> TrainingCost:
    """Take some steps of a plan and return what they took; nothing is written.

    Raises:
        BeitError: If a step needs more memory than there is.
    """
    model: Any = run.model
    parameters, state = sum(parameter.numel() for parameter in model.parameters()), state_bytes(model)
    world = accelerator.num_processes
    with TemporaryDirectory() as nowhere:
        timed = timed_steps(plan, run, RunFolder(nowhere), accelerator, world)
    return TrainingCost(
        parameters=parameters,
        pictures=len(plan.dataset),
        steps=plan.steps,
        processes=world,
        state=state // (world if plan.run.sharding == "fsdp" else 1),
        peak_memory=peak_memory(accelerator.device),
        seconds_per_step=median(one.step for one in timed),
        data_share=sum(one.data for one in timed) / sum(one.step for one in timed),
    )
