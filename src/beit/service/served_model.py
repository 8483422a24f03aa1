"""Served model: a predictor with the queue in which its requests are batched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from beit.inference.predictor import Predictor
from beit.inference.tasks.options import TaskOptions
from beit.inference.tasks.registry import served_tasks, task_named
from beit.inference.tasks.task import PredictorTask
from beit.service.batcher import Batcher
from beit.service.errors import ServiceError
from beit.service.pace import Kind, Pace, Turn
from beit.service.schemas import ModelDescription


@dataclass(frozen=True)
class Asked:
    """Prepared picture of a request, with its options and its moments."""

    prepared: Any
    options: TaskOptions
    turn: Turn


@dataclass(frozen=True)
class _Together:
    """Function of a batch of requests; equal for the same model and task, so that these are batched."""

    served: ServedModel
    task: PredictorTask[Any, Any]

    def __call__(self, asked: Sequence[Asked]) -> list[Any]:
        """Return the results of prepared pictures, each with the options of its request."""
        began = perf_counter()
        for one in asked:
            one.turn.began = began
        model = self.served.predictor.model
        try:
            return self.task.results(model, [one.prepared for one in asked], [one.options for one in asked])
        finally:  # what is given up has taken as long
            self.served.pace.computed(self.served.kind(self.task), (perf_counter() - began) / len(asked))


class ServedModel:
    """Predictor with its queue.

    Args:
        name: Its name for clients.
        predictor: The model.
        batcher: Its queue and its thread.
        pace: Where the time of its computations is noted.
    """

    def __init__(self, name: str, predictor: Predictor, batcher: Batcher, pace: Pace) -> None:
        self.name = name
        self.predictor = predictor
        self.batcher = batcher
        self.pace = pace

    async def result(self, task: PredictorTask[Any, Any], asked: Asked) -> Any:
        """Return the result of a task for a prepared picture, in the model's thread when its turn comes."""
        compute = _Together(self, task)
        if task.batched:
            return await self.batcher.submit(compute, asked)
        return await self.batcher.alone(lambda: compute([asked])[0])

    def kind(self, task: PredictorTask[Any, Any]) -> Kind:
        """Return the kind of its requests for a task."""
        return self.name, task.name

    @property
    def tasks(self) -> list[str]:
        """The tasks that the model can do here, in the order of their names."""
        return sorted(self.predictor.tasks & {task.name for task in served_tasks()})

    def require(self, task: str) -> None:
        """Refuse a task that the model cannot do.

        Raises:
            ServiceError: Naming those that it can.
        """
        if task not in self.tasks:
            possible = ", ".join(self.tasks) or "nothing"
            raise ServiceError(
                422, f"the model {self.name!r} cannot {task_named(task).action or task}; expected one of: {possible}"
            )

    def description(self) -> ModelDescription:
        """Return its public description."""
        model = self.predictor.model
        height, width = model.preprocessing.image_hw
        rows, cols = model.grid
        return ModelDescription(
            name=self.name,
            tasks=self.tasks,
            classes=self.predictor.classes,
            image_height=height,
            image_width=width,
            patch_size=height // rows,
            rows=rows,
            cols=cols,
        )
