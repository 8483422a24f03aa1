"""Registry of the predictor's tasks: the one list from which all others are derived."""

from __future__ import annotations

from typing import Any

from beit.errors import ConfigError
from beit.inference.runners.loaded import LoadedModel
from beit.inference.tasks.attend import Attend
from beit.inference.tasks.classify import Classify
from beit.inference.tasks.embed import Embed
from beit.inference.tasks.features import DrawFeatures
from beit.inference.tasks.neighbours import FindNeighbours
from beit.inference.tasks.options import Option, described
from beit.inference.tasks.reconstruct import Reconstruct
from beit.inference.tasks.segment import Segment
from beit.inference.tasks.task import ExportedOutput, PredictorTask

TASKS: dict[str, PredictorTask[Any, Any]] = {
    task.name: task
    for task in (Classify(), Segment(), Embed(), FindNeighbours(), Attend(), DrawFeatures(), Reconstruct())
}


def task_named(name: str) -> PredictorTask[Any, Any]:
    """Return a task.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in TASKS:
        raise ConfigError(f"task is {name!r}; expected one of {', '.join(TASKS)}")
    return TASKS[name]


def possible_tasks(model: LoadedModel) -> list[str]:
    """Return the names of the tasks that a model can do, in the order of the registry."""
    return [name for name, task in TASKS.items() if task.possible(model)]


def served_tasks() -> list[PredictorTask[Any, Any]]:
    """Return the tasks of the service."""
    return [task for task in TASKS.values() if task.served]


def check_task(name: str, model: LoadedModel) -> None:
    """Refuse a task that a model cannot do.

    Raises:
        ConfigError: Naming those that it can.
    """
    task = task_named(name)
    named = ", ".join(possible_tasks(model)) or "none"
    if not task.possible(model):
        raise ConfigError(f"this model cannot {task.action or name}: {task.remedy(model)}expected one of: {named}")


def task_options() -> list[tuple[str, Option]]:
    """Return the options of all tasks, each with the task that it belongs to."""
    return [(name, option) for name, task in TASKS.items() for option in described(task.options)]


def exported_outputs() -> dict[str, ExportedOutput]:
    """Return the output of exported models, by the tasks that models are exported for."""
    return {name: task.exported for name, task in TASKS.items() if task.exported is not None}
