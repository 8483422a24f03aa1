"""Timed steps of a run, for its forecast."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from beit.data import require_usable, training_batches
from beit.engine.backend import Backend
from beit.engine.loop import batch_order, make_backend
from beit.engine.metrics import RunProgress
from beit.engine.run_folder import RunFolder
from beit.engine.task import Task
from beit.errors import BeitError
from beit.models_torch.device import wait_for
from beit.settings.groups import TrainSettings

_WARM_STEPS, _TIMED_STEPS = 1, 5
_ENOUGH_SECONDS = 60.0  # one process takes no further step after that; several could not agree on it
_OUT_OF_MEMORY = ("can't allocate", "not enough memory", "out of memory")  # as torch says it of a CPU


class Seconds(NamedTuple):
    """Seconds of a step, and of those the task's preparation (the tokenizer) and the wait for pictures."""

    step: float
    preparing: float
    data: float


def timed_steps(task: Task[Any, Any], folder: RunFolder, prefix: str = "") -> list[Seconds]:
    """Take steps as a run would, each with the pictures of one of its processes, and return their times.

    The first step, which warms up, is not among them.

    Raises:
        BeitError: If a step needs more memory than there is; `prefix` stands before the names of the settings.
        DataError: If no picture of a step is usable.
    """
    with _enough_memory(task.settings.train, task.accelerator.device, task.world, prefix):
        return _seconds(task, make_backend(task, folder))[_WARM_STEPS:]


def _seconds(task: Task[Any, Any], backend: Backend) -> list[Seconds]:
    """Take steps as the run would, each with the pictures of one process, and return their times: two or more."""
    accelerator, device = task.accelerator, task.accelerator.device
    order = batch_order(task, _WARM_STEPS + _TIMED_STEPS, 0, accelerator.process_index, task.world)
    backend.train()
    seconds: list[Seconds] = []
    with RunProgress(f"{task.title}, timed", 0, _WARM_STEPS + _TIMED_STEPS, accelerator.is_main_process) as progress:
        began = time.perf_counter()
        for batch in training_batches(
            task.dataset, order, task.collate, task.workers, device.type == "cuda"
        ):  # fmt: skip
            require_usable(len(batch.indices), len(batch.broken), batch.broken)
            loaded = time.perf_counter()
            tensors = task.prepare(task.on_device(batch), len(seconds))
            wait_for(device)
            prepared = time.perf_counter()
            backend.step(len(seconds), tensors)
            wait_for(device)
            seconds.append(Seconds(time.perf_counter() - began, prepared - loaded, loaded - began))
            progress.advance(len(seconds), len(batch.indices), None)
            alone, took = accelerator.num_processes == 1, sum(one.step for one in seconds)
            if alone and took > _ENOUGH_SECONDS and len(seconds) > _WARM_STEPS:
                break
            began = time.perf_counter()
    return seconds


@contextmanager
def _enough_memory(train: TrainSettings, device: torch.device, world: int, prefix: str) -> Generator[None]:
    """Raise one line with a remedy where memory does not suffice inside."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not short and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        pictures, parts = train.batch_size // world, train.accumulate
        where = f"cuda:{device.index or 0}" if device.type == "cuda" else "this machine"
        raise BeitError(
            f"{where} has not enough memory for a step: the {pictures} pictures of a process go through the model in "
            f"{parts} part{'s' * (parts != 1)}; raise {prefix}train.accumulate, or lower {prefix}train.batch_size"
        ) from None
