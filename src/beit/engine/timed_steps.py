"""A few steps of a run, timed, for its forecast."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from accelerate import Accelerator

from beit.data import BatchOrder, training_batches
from beit.engine.backend import Trained, make_trainee
from beit.engine.plan import Objective, Plan
from beit.engine.run_folder import RunFolder
from beit.errors import BeitError
from beit.models_torch.device import wait_for
from beit.settings.groups import TrainSettings

_WARM_STEPS, _TIMED_STEPS = 1, 5
_ENOUGH_SECONDS = 60.0  # one process takes no further step after that; several could not agree on it
_OUT_OF_MEMORY = ("can't allocate", "not enough memory", "out of memory")  # as torch says it of a CPU


class Seconds(NamedTuple):
    """What a step took, and of that what its objective prepares (the tokenizer) and the wait for pictures."""

    step: float
    preparing: float
    data: float


def timed_steps(
    plan: Plan, run: Objective, folder: RunFolder, accelerator: Accelerator, world: int, prefix: str = ""
) -> list[Seconds]:
    """Take steps as a run would, each with the pictures of one of `world` processes, and return what they took.

    The first step, which warms up, is not among them.

    Raises:
        BeitError: If a step needs more memory than there is; `prefix` stands before the names of the settings.
    """
    with _enough_memory(plan.train, accelerator.device, world, prefix):
        trainee = make_trainee(plan, run, folder, accelerator)
        return _seconds(plan, run, trainee, accelerator, world)[_WARM_STEPS:]


def _seconds(plan: Plan, run: Objective, trainee: Trained, accelerator: Accelerator, world: int) -> list[Seconds]:
    """Take steps as the run would, each with the pictures of one process, and return what they took: two or more."""
    job, size, device = plan.train, len(plan.dataset), accelerator.device
    steps, rank = _WARM_STEPS + _TIMED_STEPS, accelerator.process_index
    window, shards = plan.data.shuffle_window, plan.dataset.shard_sizes
    order = BatchOrder(size, job.batch_size, steps, plan.run.seed, 0, rank, world, window, shards, plan.together)
    trainee.train()
    seconds: list[Seconds] = []
    began = time.perf_counter()
    for batch in training_batches(plan.dataset, order, plan.collate, plan.data.workers, device.type == "cuda"):
        loaded = time.perf_counter()
        tensors = run.prepare(batch.to(device).tensors, len(seconds))
        wait_for(device)
        encoded = time.perf_counter()
        trainee.step(len(seconds), tensors)
        wait_for(device)
        seconds.append(Seconds(time.perf_counter() - began, encoded - loaded, loaded - began))
        alone, took = accelerator.num_processes == 1, sum(one.step for one in seconds)
        if alone and took > _ENOUGH_SECONDS and len(seconds) > _WARM_STEPS:
            break
        began = time.perf_counter()
    return seconds


@contextmanager
def _enough_memory(train: TrainSettings, device: torch.device, world: int, prefix: str) -> Generator[None]:
    """Say in one line what to do where memory does not suffice inside."""
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
