"""Settings that are `auto`: chosen before a run begins, with their reasons."""

from __future__ import annotations

from typing import Any

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
        on_gpu = task.accelerator.device.type == "cuda"
        value = "bf16" if task.accelerator.mixed_precision == "bf16" else "fp32"
        choices.append(Choice("run.precision", value, "what the GPU supports" if on_gpu else "the faster one here"))
    if settings.run.exact == AUTO and task.accelerator.device.type == "cuda":  # a CPU is exact in any case
        choices.append(Choice("run.exact", False, "fast on a GPU; true for the same bits in every run"))
    if settings.data.workers == AUTO:
        choices.append(Choice("data.workers", task.workers, _loading(task)))
    return choices


def _loading(task: Task[Any, Any]) -> str:
    """Return the reason for the number of loading processes."""
    computing = busy_cpus(task.accelerator.device)
    return f"of {cpu_share()} CPUs for this process {computing} compute; one loads at least"
