"""Hooks of the loop: their interface, validation with early stopping, and the gallery.

An early stop decides from the measurements in the metrics alone, so that a continued run decides alike.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from accelerate.utils import broadcast

from beit.data import spread
from beit.engine.metrics import Line, MetricsLog, read_metrics
from beit.engine.run_folder import RunFolder
from beit.engine.schedule import Schedule
from beit.engine.task import Task, TrainingSettings
from beit.errors import ConfigError
from beit.files import atomic_folder
from beit.reports.gallery import Gallery, Scene
from beit.settings.groups import EarlyStopSettings, ValidationSettings

_MOST_VALIDATIONS = 50  # in a run, where their interval is chosen


class Hook:
    """An observer of a run; the loop calls it on all processes, and the task's model has the weights of now."""

    @property
    def stops(self) -> bool:
        """Return whether the run should end now."""
        return False

    def begin(self, step: int) -> None:
        """Get ready, after `step` finished steps."""

    @property
    def headline(self) -> str:
        """Return the newest result in a few words, for the progress line."""
        return ""

    def look_first(self, metrics: MetricsLog) -> None:
        """Look at the model of a new run before its first step."""

    def after_step(self, step: int) -> None:
        """Take note that `step` steps are finished; this happens after every step, before anybody is asked to look."""

    def due(self, step: int, last: bool) -> bool:
        """Return whether to look after `step` finished steps."""
        return False

    def look(self, step: int, metrics: MetricsLog) -> None:
        """Look at the model; it may be left in evaluation mode."""

    def end(self) -> None:
        """Finish, after the last step; the task's model has the last weights."""


@dataclass
class Patience:
    """Criterion of early stopping: the best measurement, and how many came after it without a gain.

    Attributes:
        settings: How many measurements without a gain to allow.
        name: Number that is measured; less is better.
        best_step: Finished steps at the best measurement so far.
    """

    settings: EarlyStopSettings
    name: str
    best_step: int | None = field(default=None, init=False)
    _best: float = field(default=float("inf"), init=False)
    _without_gain: int = field(default=0, init=False)

    @property
    def keeps_best(self) -> bool:
        """Return whether the run ends with the model that measured best rather than with the last."""
        return self.settings.patience is not None and self.best_step is not None

    @property
    def reached(self) -> bool:
        """Return whether the run should stop."""
        return self.settings.patience is not None and self._without_gain >= self.settings.patience

    def recall(self, lines: Sequence[Line]) -> None:
        """Count the measurements of an earlier part of the run, whose lines hold their value alone."""
        for line in lines:
            if line["split"] == "val" and line.keys() == {"step", "split", self.name}:
                self.note(line["step"], line[self.name])

    def note(self, step: int, value: float) -> bool:
        """Count a measurement and return whether it is a gain; a value that is not finite never is."""
        gain = value < self._best - self.settings.min_gain * abs(self._best) if self._best < float("inf") else True
        if gain and isfinite(value):
            self._best, self._without_gain, self.best_step = value, 0, step
            return True
        self._without_gain += 1
        return False


def validation_interval(settings: ValidationSettings, schedule: Schedule) -> int:
    """Return the steps between two measurements, 0 for none."""
    if settings.every != "auto":
        return settings.every
    return max(1, round(schedule.pictures / schedule.train.batch_size), -(-schedule.steps // _MOST_VALIDATIONS))


def validation_count(settings: ValidationSettings, schedule: Schedule) -> int:
    """Return how often a whole run measures, the last step included."""
    every = validation_interval(settings, schedule)
    return 0 if every == 0 else 1 + max(0, (schedule.steps - 1) // every - settings.after // every)


def check_early_stop(settings: TrainingSettings) -> None:
    """Refuse to stop by measurements that are not made.

    Raises:
        ConfigError: Naming both settings.
    """
    if settings.early_stop.patience is not None and settings.validation.every == 0:
        raise ConfigError(
            f"early_stop.patience is {settings.early_stop.patience} and validation.every is 0, which measures nothing; "
            "set validation.every to auto or a number of steps"
        )


class Validation(Hook):
    """Validation while the run works: keeps the best model, and stops a run that no longer gains, if asked to."""

    def __init__(self, task: Task[Any, Any], folder: RunFolder) -> None:
        self._task, self._folder = task, folder
        self._main, self._settings = task.accelerator.is_main_process, task.settings.validation
        self._every = validation_interval(self._settings, task.schedule)
        self.patience = Patience(task.settings.early_stop, task.watched)

    @property
    def stops(self) -> bool:
        """Return whether the run should end now."""
        return self.patience.reached

    def begin(self, step: int) -> None:
        """Recall the measurements of an earlier part of the run."""
        self.patience.recall([line for line in read_metrics(self._folder.metrics) if line["step"] <= step])
        if step == 0 and self._main:
            shutil.rmtree(self._folder.best, ignore_errors=True)  # left by an attempt that reached no checkpoint

    def due(self, step: int, last: bool) -> bool:
        """Return whether to measure after `step` finished steps; the last step always is."""
        return self._every > 0 and (last or (step % self._every == 0 and step > self._settings.after))

    def look(self, step: int, metrics: MetricsLog) -> None:
        """Measure, on one process for all, and keep the model if it is the best so far."""
        task, patience = self._task, self.patience
        value = 0.0
        if self._main:
            value = task.held_out(spread(task.sources.val, self._settings.pictures))
        shared: Any = broadcast(torch.full((), value, device=task.accelerator.device))
        value = float(shared)
        gain = patience.note(step, value)
        metrics.write(step, "val", {patience.name: value})
        if self._main and gain:
            with atomic_folder(self._folder.best) as temporary:
                task.save(temporary)
        if self._main and patience.reached:
            times = patience.settings.patience
            print(f"stopped after step {step}: {times} measurement{'s' * (times != 1)} without a gain")  # noqa: T201

    def end(self) -> None:
        """Bring back the model that measured best if the run may stop early; otherwise say where it is."""
        if not self._main or self.patience.best_step is None:
            return
        if self.patience.keeps_best:
            self._task.load(self._folder.best)
            print(f"keeping the model of step {self.patience.best_step}, the best on held-out pictures")  # noqa: T201
        else:
            step = self.patience.best_step
            print(f"{self._folder.best} has the model of step {step}, the best on held-out pictures")  # noqa: T201


class GalleryHook(Hook):
    """Adds a row to the gallery every so many steps, on one process for all.

    Args:
        task: The task.
        folder: The run folder.
        scene: Makes the pictures that are shown.
        every: Steps between two rows.
    """

    def __init__(self, task: Task[Any, Any], folder: RunFolder, scene: Callable[[], Scene], every: int) -> None:
        self._every, self._main = every, task.accelerator.is_main_process
        self.gallery = Gallery(folder.pictures, scene)

    def begin(self, step: int) -> None:
        """Draw the fixed rows, and drop the rows that a stopped run drew after `step`."""
        if self._main:
            self.gallery.begin(step)

    def due(self, step: int, last: bool) -> bool:
        """Return whether there is a row after `step` finished steps; the last step always has one."""
        return last or step % self._every == 0

    def look(self, step: int, metrics: MetricsLog) -> None:
        """Draw and keep a row."""
        if self._main:
            metrics.write_picture(step, "reconstructions", self.gallery.add(step))
