"""Settings that are `auto`: chosen before a run begins, with their reasons."""

from __future__ import annotations

from typing import Any

import torch

from beit.engine.compilation import choose_compilation
from beit.engine.exactness import FAST
from beit.engine.processes import precision_of
from beit.engine.recorded import AUTO, Choice
from beit.engine.task import Task
from beit.image.cpus import cpu_share
from beit.models_torch.device import busy_cpus


def choose(task: Task[Any, Any]) -> list[Choice]:
    """Return the choices for the settings of a task that are `auto`; it has its processes, and what it starts from."""
    settings, choices = task.settings, list[Choice]()
    if settings.optim.lr == AUTO:
        rate, pictures = task.rate(), settings.train.batch_size
        choices.append(Choice("optim.lr", rate.at(pictures), rate.reason(pictures)))
    if settings.run.precision == AUTO:
        value = precision_of(task.accelerator)
        choices.append(Choice("run.precision", value, _precision(value, task.accelerator.device)))
    if settings.run.exact == AUTO and task.accelerator.device.type == "cuda":  # a CPU is exact in any case
        choices.append(Choice("run.exact", False, f"{FAST}; true for the same bits in every run"))
    if settings.train.compile == AUTO and task.accelerator.device.type == "cuda" and settings.run.framework == "torch":
        choices.append(choose_compilation(task.accelerator.device, settings.run.exact is True))
    if settings.data.workers == AUTO:
        choices.append(Choice("data.workers", task.workers, _loading(task)))
    return choices


def _precision(value: str, device: torch.device) -> str:
    """Return the reason for a precision."""
    if device.type != "cuda":
        return "the faster one here"
    return "the GPU has no bf16; the loss is scaled" if value == "fp16" else "what the GPU supports"


def _loading(task: Task[Any, Any]) -> str:
    """Return the reason for the number of loading processes."""
    computing = busy_cpus(task.accelerator.device)
    return f"of {cpu_share()} CPUs for this process {computing} compute; one loads at least"
