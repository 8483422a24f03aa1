"""Hooks of the loop: their interface, early stopping on a held-out metric, and the gallery.

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
from beit.engine.task import Task
from beit.files import atomic_folder
from beit.reports.gallery import Gallery, Scene
from beit.settings.groups import EarlyStopSettings


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
    """Criterion of early stopping: counts measurements without a gain.

    Attributes:
        settings: How often to measure, and how many measurements without a gain to allow.
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

    def due(self, step: int, last: bool = False) -> bool:
        """Return whether to measure after `step` finished steps; the last step always is."""
        if not self.settings.measure and self.settings.patience is None:
            return False
        return last or (step % self.settings.every == 0 and step > self.settings.after)

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


class EarlyStop(Hook):
    """Early stopping: measures on held-out pictures, keeps the best model, and ends a run that no longer improves."""

    def __init__(self, task: Task[Any, Any], folder: RunFolder) -> None:
        self._task, self._folder = task, folder
        self._main = task.accelerator.is_main_process
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
        """Return whether to measure after `step` finished steps."""
        return self.patience.due(step, last)

    def look(self, step: int, metrics: MetricsLog) -> None:
        """Measure, on one process for all, and keep the model if it is the best so far."""
        task, settings = self._task, self.patience.settings
        value = 0.0
        if self._main:
            value = task.held_out(spread(task.sources.val, settings.pictures))
        shared: Any = broadcast(torch.full((), value, device=task.accelerator.device))
        value = float(shared)
        gain = self.patience.note(step, value)
        metrics.write(step, "val", {self.patience.name: value})
        if self._main and gain:
            with atomic_folder(self._folder.best) as temporary:
                task.save(temporary)
        if self._main and self.patience.reached:
            times = f"{settings.patience} measurement{'s' * (settings.patience != 1)}"
            print(f"stopped after step {step}: {times} without a gain")  # noqa: T201

    def end(self) -> None:
        """Bring back the model that measured best."""
        if self._main and self.patience.keeps_best:
            self._task.load(self._folder.best)
            print(f"keeping the model of step {self.patience.best_step}, the best on held-out pictures")  # noqa: T201


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
