"""Settings that are `auto`: chosen before a run begins, with their reasons, and kept when it continues."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from beit.engine.run_folder import RunFolder
from beit.engine.task import Task
from beit.image.cpus import cpu_share
from beit.models_torch.device import busy_cpus

AUTO = "auto"
# chosen once for a run, because its numbers depend on them; loading processes are chosen for the machine of the day
_KEPT = ("optim.lr", "run.precision")

Job = TypeVar("Job", bound=Any)


class Choice(NamedTuple):
    """The value that a setting has instead of `auto`.

    Attributes:
        setting: Its dotted name.
        value: Its value.
        reason: Why, in a few words.
    """

    setting: str
    value: Any
    reason: str


def as_before(settings: Job) -> Job:
    """Return the settings of a run with what was chosen for those that are `auto` when it began.

    Raises:
        ConfigError: If the recipe in the run folder is damaged.
    """
    folder = RunFolder(settings.run.output)
    if not folder.begun:
        return settings
    recipe, kept = folder.read_recipe(), list[Choice]()
    for setting in _KEPT:
        group, name = setting.split(".")
        before = recipe.get(group)
        value = before.get(name, AUTO) if isinstance(before, dict) else AUTO
        if value != AUTO:
            kept.append(Choice(setting, value, "as the run began"))
    return chosen(settings, kept)


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
    if settings.data.workers == AUTO:
        choices.append(Choice("data.workers", task.workers, _loading(task)))
    return choices


def _loading(task: Task[Any, Any]) -> str:
    """Return the reason for the number of loading processes."""
    computing = busy_cpus(task.accelerator.device)
    return f"of {cpu_share()} CPUs for this process {computing} compute; one loads at least"


def chosen(settings: Job, choices: Iterable[Choice]) -> Job:
    """Return settings with choices in the place of `auto`; what is not `auto` stays."""
    for setting, value, _ in choices:
        group, name = setting.split(".")
        before = getattr(settings, group)
        if getattr(before, name) == AUTO:
            settings = replace(settings, **{group: replace(before, **{name: value})})
    return settings
