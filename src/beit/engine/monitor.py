"""Quality monitor of a run: how good the features of every layer are, again and again while the model learns.

It looks at a fixed set of pictures, on one process for all, and draws from no random stream of the training, so that a
run has the same weights with and without it. Every measurement becomes lines of the metrics: the best over the layers
as "val", and every layer as "layer_1", "layer_2" ...; before the first step "pixels" has what raw pixels reach.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from beit.config import FEATURES_NAME
from beit.data import sample
from beit.engine.hooks import Hook
from beit.engine.interruption import stop_itself
from beit.engine.metrics import Line, MetricsLog, read_metrics
from beit.engine.monitor_interval import Interval, recorded
from beit.engine.run_folder import RunFolder
from beit.engine.task import Monitored, Task
from beit.errors import ConfigError
from beit.evaluation.features.layers import pixel_features
from beit.evaluation.features.quality import MEASURES, FeatureQuality, Row, best_of
from beit.files import atomic_folder, write_json
from beit.reports.quality import COMPARED, PIXELS, SPLIT, described, layer_rows, measurements
from beit.settings.groups import MonitorSettings

_PICTURES, _LEAST_PICTURES = 2048, 256  # training pictures that are looked at
_FEW_PICTURES = 600  # enough to see a trend; a share of a half has a standard error of 3 % then
_PER_CLASS, _MOST_PICTURES = 10, 10_000  # where there are many classes
# Of the pictures that a run sees: a short run looks at no more, and one that can look at _FEW_PICTURES does so often
# rather than at more of them once.
_SEEN_SHARE, _OFTEN_SHARE = 0.03, 0.005
_CONSTANT_RANK = 1.01  # of the pixels of pictures that are all the same
_COLLAPSED_RANK, _COLLAPSED_TIMES = 1.05, 3  # of features; measurements in a row


class MonitorHook(Hook):
    """Measures before the first step, every so many steps, and after the last.

    Args:
        task: The task.
        folder: The run folder.
        monitored: What is measured of it.
    """

    def __init__(self, task: Task[Any, Any], folder: RunFolder, monitored: Monitored) -> None:
        self._task, self._folder, self._monitored = task, folder, monitored
        self._main = task.accelerator.is_main_process
        count = _pictures(task, monitored.settings) if folder.last_step is None else _as_before(task, folder, monitored)
        self._interval = Interval(task, folder.monitor, monitored.settings, count)
        self._history: list[Line] = []
        seed, workers = task.settings.run.seed, task.workers
        self._quality = FeatureQuality(
            sample(task.sources.train, count, seed),
            sample(task.sources.val, max(1, count // 2), seed),
            monitored.plain, monitored.random, monitored.settings.k, monitored.batch_size, workers,
        )  # fmt: skip
        self._check_measure(monitored.keep_best.on)

    def _check_measure(self, name: str | None) -> None:
        """Refuse to choose the best model by a measure that these pictures do not have.

        Raises:
            ConfigError: Naming those that they have.
        """
        known = self._quality.measures
        if name is not None and name not in known:
            reason = self._quality.unlabelled or "they have labels"
            raise ConfigError(
                f"keep_best.on is {name}; expected one of {', '.join(known)} for these pictures: {reason}"
            )

    @property
    def headline(self) -> str:
        """Return the newest best value over the layers, such as "kNN 34.2 % (layer 4)"."""
        return described(self._history[-1]) if self._history else ""

    def begin(self, step: int) -> None:
        """Recall the interval and the measurements of an earlier part of the run."""
        self._interval.begin(step)
        lines = [line for line in read_metrics(self._folder.metrics) if line["step"] <= step] if step else []
        self._history = measurements(lines)

    def look_first(self, metrics: MetricsLog) -> None:
        """Measure what needs no training: raw pixels, and random weights.

        Raises:
            BeitError: If nothing can be learnt from these pictures or tokens, unless run.force is true.
        """
        if self._main:
            with _apart():
                self._look_first(metrics)

    def _look_first(self, metrics: MetricsLog) -> None:
        quality, began = self._quality, time.perf_counter()
        objection, pixels = self._monitored.objection(quality.bank), quality.measure(pixel_features)[0]
        metrics.write(0, PIXELS, {name: pixels[name] for name in COMPARED if name in pixels})
        before = time.perf_counter()
        self._measure(0, metrics)
        now = time.perf_counter()
        self._interval.record(now - before, now - began)
        if quality.unlabelled is not None:
            print(f"monitor: no kNN and no ridge probe: {quality.unlabelled}")  # noqa: T201
        print(f"monitor: raw pixels {described(pixels)}, model before training {self.headline}")  # noqa: T201
        if pixels["rankme"] < _CONSTANT_RANK:
            self._stop(
                f"the {len(quality.bank)} training pictures that were looked at are all the same, so there is nothing "
                "to learn; name other pictures with data.path"
            )
        if objection is not None:
            self._stop(objection)

    def after_step(self, step: int) -> None:
        """Take the time of the first steps, which decides how often to measure."""
        self._interval.after_step(step)

    def due(self, step: int, last: bool) -> bool:
        """Return whether to measure after `step` finished steps; the last step always is."""
        return last or self._interval.due(step)

    def look(self, step: int, metrics: MetricsLog) -> None:
        """Measure, on one process for all, and keep the model if it is the best so far.

        Raises:
            BeitError: If the features have collapsed, unless run.force is true.
        """
        if self._main:
            with _apart():
                self._measure(step, metrics)
            self._keep_best()
            self._check_rank()

    def end(self) -> None:
        """Say which model was kept as the best."""
        name, trained = self._monitored.keep_best.on, [line for line in self._history if line["step"] > 0]
        if self._main and name is not None and trained:
            best = max(trained, key=lambda line: line[name])  # of equally good ones the first, as it was kept
            words = described({key: best[key] for key in (name, f"{name}_layer")})
            print(f"{self._folder.best} has the model of step {best['step']}, the best by {words}")  # noqa: T201

    def remember(self, folder: Path, step: int) -> None:
        """Write the quality of the layers of the model of some step beside it, if that step was measured."""
        lines = [line for line in read_metrics(self._folder.metrics) if line["step"] == step]
        if rows := layer_rows(lines):
            write_json(folder / FEATURES_NAME, self._file(step, rows), indent=1)

    def _measure(self, step: int, metrics: MetricsLog) -> None:
        rows = self._quality.measure(self._monitored.layers)
        for number, row in enumerate(rows, start=1):
            metrics.write(step, f"{SPLIT}{number}", row)
        best = best_of(rows)
        metrics.write(step, "val", best)
        self._history.append({"step": step, **best})

    def _keep_best(self) -> None:
        """Save the newest model if none before it did better."""
        name = self._monitored.keep_best.on
        *earlier, newest = [line for line in self._history if line["step"] > 0]
        if name is None or any(line[name] >= newest[name] for line in earlier):
            return
        with atomic_folder(self._folder.best) as temporary:
            self._task.save(temporary)
            self.remember(temporary, newest["step"])

    def _check_rank(self) -> None:
        """Stop a run whose features point one way for a while."""
        newest = [line for line in self._history if line["step"] > 0][-_COLLAPSED_TIMES:]
        if len(newest) == _COLLAPSED_TIMES and all(line["rankme"] < _COLLAPSED_RANK for line in newest):
            self._stop(
                f"the features of all layers have had an effective rank (RankMe) below {_COLLAPSED_RANK} in "
                f"{_COLLAPSED_TIMES} measurements, the newest after step {newest[-1]['step']}: every picture gets the "
                "same ones, so the model has collapsed; lower optim.lr or lengthen the warm-up, and start again in "
                "another run.output"
            )

    def _stop(self, reason: str) -> None:
        """Stop the run, or say why it should not go on.

        Raises:
            BeitError: With the reason, unless the run is forced.
        """
        stop_itself(reason, self._folder, self._task.settings.run.force)

    def _file(self, step: int, rows: Sequence[Row]) -> dict[str, Any]:
        """Return what is written beside a model."""
        best = best_of(rows)
        measure = next(name for name in MEASURES if name in best)
        return {
            "best_layer": best[f"{measure}_layer"],
            "measure": measure,
            "step": step,
            "training_pictures": len(self._quality.bank),
            "held_out_pictures": len(self._quality.queries),
            "layers": [{"layer": number, **row} for number, row in enumerate(rows, start=1)],
        }


def _apart() -> AbstractContextManager[None]:
    """Keep the random stream of the host as it is: to load pictures draws from it."""
    return torch.random.fork_rng(devices=[])


def monitor_of(task: Task[Any, Any], folder: RunFolder) -> MonitorHook | None:
    """Return the monitor of a task that has one and whose settings want one.

    Raises:
        ConfigError: If it cannot choose the best model as it is asked to.
    """
    monitored = task.monitor()
    if monitored is None or monitored.settings.every == 0:
        return None
    return MonitorHook(task, folder, monitored)


def _as_before(task: Task[Any, Any], folder: RunFolder, monitored: Monitored) -> int:
    """Return the number of training pictures of an earlier part of the run, unless one is given.

    A run that is trained on would look at more of them, and be compared with raw pixels by fewer.
    """
    settings, before = monitored.settings, int(recorded(folder.monitor).get("pictures", 0))
    return before if before and settings.pictures is None else _pictures(task, settings)


def _pictures(task: Task[Any, Any], settings: MonitorSettings) -> int:
    """Return the number of training pictures: more for many classes, fewer in a short run, which is not to wait."""
    if settings.pictures is not None:
        return settings.pictures
    seen = task.schedule.steps * task.settings.train.batch_size
    for_classes = min(_MOST_PICTURES, max(_PICTURES, _PER_CLASS * len(task.sources.train.classes or ())))
    often = max(_FEW_PICTURES, round(_OFTEN_SHARE * seen))
    return min(for_classes, max(_LEAST_PICTURES, min(round(_SEEN_SHARE * seen), often)))
