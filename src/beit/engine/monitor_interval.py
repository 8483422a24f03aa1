"""Interval of the quality monitor: chosen once by measured times, and recorded for when the run continues."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast

from beit.engine.task import Task
from beit.files import read_json, write_json
from beit.models_torch.device import wait_for
from beit.settings.groups import MonitorSettings

_WARM_STEPS, _TIMED_STEPS = 2, 10
_MOST_MEASUREMENTS = 50  # in a run
_EARLY = (8, 4, 2)  # parts of the first interval after which to measure too
_LEAST_WITH_EARLY = 4  # measurements between the first and the last step of a run that has early ones besides
_UNDECIDED = 0


def chosen_interval(steps: int, step_seconds: float, measurement_seconds: float, spent: float, share: float) -> int:
    """Return the steps between two measurements whose sum stays within a share of a run's time, early ones included.

    Args:
        steps: Of the whole run; after the last one there is a measurement in any case.
        step_seconds: Time of a step.
        measurement_seconds: Time of a measurement.
        spent: Seconds spent already, before the first step.
        share: Largest share of the time of all steps.
    """
    left = share * steps * step_seconds - spent - measurement_seconds
    count = min(_MOST_MEASUREMENTS, max(0, math.floor(left / max(measurement_seconds, 1e-9))))
    for_early = len(_EARLY) if count >= _LEAST_WITH_EARLY + len(_EARLY) else max(0, count - _LEAST_WITH_EARLY + 1)
    return math.ceil(steps / (count - for_early + 1))


def early_steps(steps: int, every: int) -> set[int]:
    """Return the steps of a run's first interval after which to measure too.

    Features change most in the beginning, and whoever waits for a long run wants to see early whether it learns.

    Args:
        steps: Of the whole run.
        every: Steps between two measurements; a run of few measurements has no early ones.
    """
    return {every // part for part in _EARLY} - {0} if (steps - 1) // every >= _LEAST_WITH_EARLY else set()


def recorded(path: Path) -> dict[str, float]:
    """Return what the monitor of an earlier part of a run has recorded, nothing if there is none.

    Raises:
        ConfigError: If the file is damaged.
    """
    if not path.exists():
        return {}
    found = read_json(path, "how often the monitor measures", "remove it")
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


class Interval:
    """The interval of a run, the same on all of its processes.

    With `every: auto` the first process takes the time of ten steps, as soon as they are warm, and shares what follows
    from it. It writes that into `monitor.json`, where a continued run finds it, so that it measures at the same steps.

    Attributes:
        every: Steps between two measurements; 0 as long as that is not decided.
        pictures: Training pictures that are looked at.

    Args:
        task: The task.
        path: The file.
        settings: What is asked for.
        pictures: Training pictures that are looked at, for the record.
    """

    def __init__(self, task: Task[Any, Any], path: Path, settings: MonitorSettings, pictures: int) -> None:
        self._task, self._path, self._settings, self.pictures = task, path, settings, pictures
        self._accelerator = task.accelerator
        self.every = settings.every if settings.every != "auto" else _UNDECIDED
        self._times: dict[str, float] = {}
        self._first, self._began = 0, 0.0

    def begin(self, step: int) -> None:
        """Get ready after `step` finished steps: a new run forgets what an earlier attempt has recorded."""
        self._first = step
        if self._accelerator.is_main_process and step == 0:
            self._path.unlink(missing_ok=True)
        if self._accelerator.is_main_process:
            self._times = recorded(self._path)
        if self._settings.every == "auto":
            self.every = self._shared(int(self._times.get("every", _UNDECIDED)))

    def record(self, measurement_seconds: float, spent_seconds: float) -> None:
        """Record the time of the first measurement, and of all that was done before the first step."""
        times = {"measurement_seconds": measurement_seconds, "spent_seconds": spent_seconds}
        self._times = {**times, "pictures": self.pictures}
        write_json(self._path, self._times, indent=1)

    def after_step(self, step: int) -> None:
        """Take the time of some steps, and decide; called on all processes after every step."""
        taken = step - self._first
        if self.every != _UNDECIDED or taken not in (_WARM_STEPS, _WARM_STEPS + _TIMED_STEPS):
            return
        wait_for(self._accelerator.device)
        if taken == _WARM_STEPS:
            self._began = time.perf_counter()
        else:
            self.every = self._shared(self._decided((time.perf_counter() - self._began) / _TIMED_STEPS))

    def due(self, step: int) -> bool:
        """Return whether to measure after `step` finished steps."""
        if self.every == _UNDECIDED:
            return False
        early = self._settings.every == "auto" and step in early_steps(self._task.schedule.steps, self.every)
        return early or step % self.every == 0

    def _decided(self, step_seconds: float) -> int:
        """Return the interval that follows from the times, and record it; only the first process knows them."""
        steps = self._task.schedule.steps
        if not self._accelerator.is_main_process or not self._times:
            return steps
        times, share = self._times, self._settings.share
        every = chosen_interval(steps, step_seconds, times["measurement_seconds"], times["spent_seconds"], share)
        self._times = {"every": every, "step_seconds": step_seconds, **times}
        write_json(self._path, self._times, indent=1)
        return every

    def _shared(self, every: int) -> int:
        """Return the number that the first process has."""
        shared: Any = broadcast(torch.tensor(every, device=self._accelerator.device))
        return int(shared)
