"""Forecast of a run: its cost, from its settings and a few timed steps; nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from beit.engine.exactness import computing, is_exact
from beit.engine.hooks import validation_count
from beit.engine.processes import one_run, precision_of
from beit.engine.run import build, start
from beit.engine.run_folder import RunFolder
from beit.engine.task import S, Stage, Task
from beit.engine.throughput import gemm_rate, peak_memory, state_bytes
from beit.engine.timed_steps import timed_steps
from beit.errors import ConfigError
from beit.models_torch.device import DTYPES

_FEW_PICTURES = 8  # of a process, in the timed steps of a first stage


@dataclass(frozen=True)
class Cost:
    """Cost of a run as it is known before the first step.

    Attributes:
        parameters: Number of parameters of the model.
        pictures: Number of pictures to train on.
        steps: Steps of the whole run.
        processes: Processes that share a batch.
        flops_per_picture: Operations of the model in a training step; None if they are not known.
        preparing_flops: Operations per picture of the preparation (the tokenizer).
        memory: Estimated bytes of one process, by what they are for.
        validations: Measurements of held-out pictures in the run, whose time nothing here has in it.
        validated: Pictures in each of them.
    """

    parameters: int
    pictures: int
    steps: int
    processes: int
    flops_per_picture: float | None
    preparing_flops: float
    memory: dict[str, float]
    validations: int
    validated: int


@dataclass(frozen=True)
class Speed:
    """Measurements of the first steps of a run on one process.

    Attributes:
        seconds_per_step: Median of the timed steps, data and preparation included.
        preparing_share: Share of that time in which the task prepares the batch (the tokenizer makes the tokens).
        data_share: Share of that time in which the step waits for pictures.
        flops_utilisation: Share of the rate of a large matrix product here that a step reached, its preparation
            included; None if its operations are not known.
        peak_memory: Bytes that this process held meanwhile, libraries included.
        communicates: Whether the processes were there, so that the time has their communication in it.
        monitor_share: Share of the time of all steps that the quality monitor adds, where it chooses its interval.
        first_seconds: Seconds of the whole training that comes first; None if there is none.
    """

    seconds_per_step: float
    preparing_share: float
    data_share: float
    flops_utilisation: float | None
    peak_memory: int
    communicates: bool
    monitor_share: float
    first_seconds: float | None


def forecast(
    kind: Callable[..., Task[S, Any]],
    settings: S,
    announce: Callable[[Cost], None],
    processes: int | None = None,
    **parts: Any,
) -> Speed:
    """Announce the cost of a run as far as it is known, then take some of its steps and return their speed.

    A model that is yet to be trained first is stood in for by one of the same size; some steps of its own training are
    timed too.

    Args:
        kind: The task.
        settings: Its settings.
        announce: Called with the cost, before the first step.
        processes: Processes of the run, where this is one process; None: as many as there are.
        **parts: Objects that the task takes beside its settings.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures.
        BeitError: If a step needs more memory than there is.
    """
    with one_run(settings.run.output), TemporaryDirectory() as nowhere:
        task = start(kind(settings, **parts), processes)
        check_processes(processes, task.accelerator.num_processes)
        stage = task.first(Path(settings.run.output))
        if stage is not None:
            task.receive(None)
        build(task)
        device = task.accelerator.device
        known = cost_of(task, device.type == "cpu")
        announce(known)
        with computing(is_exact(task.settings.run, device), device):
            timed = timed_steps(task, RunFolder(nowhere))
            held = peak_memory(task.accelerator.device)
            first_seconds = None if stage is None else _stage_seconds(stage, task, RunFolder(nowhere))
            reached = _reached(task, known, median(one.step for one in timed))
        step, total = median(one.step for one in timed), sum(one.step for one in timed)
        return Speed(
            seconds_per_step=step,
            preparing_share=sum(one.preparing for one in timed) / total,
            data_share=sum(one.data for one in timed) / total,
            flops_utilisation=reached,
            peak_memory=held,
            communicates=task.accelerator.num_processes > 1,
            monitor_share=_monitor_share(task),
            first_seconds=first_seconds,
        )


def cost_of(task: Task[Any, Any], on_cpu: bool) -> Cost:
    """Return the cost that is known before the first step.

    Args:
        task: The task, built.
        on_cpu: Whether the run would compute on a CPU.
    """
    settings, model = task.settings, task.model
    state = {"weights and optimiser": float(state_bytes(task.module, settings.optim.name == "muon"))}
    if settings.train.ema_decay is not None:
        state["moving average"] = float(sum(tensor.nbytes for tensor in model.state_dict().values()))
    if settings.run.sharding == "fsdp":
        state = {name: amount / task.world for name, amount in state.items()}
    at_once = -(-settings.train.batch_size // task.world // settings.train.accumulate)
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        pictures=len(task.dataset),
        steps=task.schedule.steps,
        processes=task.world,
        flops_per_picture=task.flops(),
        preparing_flops=task.preparing_flops(),
        memory={**state, **task.activations(at_once, on_cpu)},
        validations=validation_count(settings.validation, task.schedule),
        validated=min(settings.validation.pictures, len(task.sources.val)),
    )


def _reached(task: Task[Any, Any], known: Cost, step: float) -> float | None:
    """Return the share of the rate of a matrix product that a step of so many seconds reached; None: not known.

    Asked where the steps are timed: a product in TF32 is several times as fast as one in float32.
    """
    if known.flops_per_picture is None:
        return None
    pictures = task.settings.train.batch_size // task.world
    flops = (known.flops_per_picture + known.preparing_flops) * pictures
    return flops / step / gemm_rate(task.accelerator.device, _dtype(task))


def _monitor_share(task: Task[Any, Any]) -> float:
    """Return the share of the time of all steps that the quality monitor may spend; 0 where its interval is given."""
    monitored = task.monitor()
    return monitored.settings.share if monitored is not None and monitored.settings.every == "auto" else 0.0


def _stage_seconds(stage: Stage, task: Task[Any, Any], folder: RunFolder) -> float:
    """Return the seconds of the training that comes first, from some of its steps with a few pictures each.

    Its whole batch may take far more memory and time than anybody gives a forecast.
    """
    own = stage.settings.train
    few = min(own.batch_size, _FEW_PICTURES * task.world)
    before = stage.task(replace(stage.settings, train=replace(own, batch_size=few, accumulate=1)))
    before.accelerator, before.world, before.sources = task.accelerator, task.world, task.sources
    build(before)
    step = median(one.step for one in timed_steps(before, folder, stage.prefix))
    whole = stage.task(stage.settings)
    whole.sources = task.sources
    return whole.schedule.steps * step * own.batch_size / few


def check_processes(asked: int | None, started: int) -> None:
    """Refuse to stand for a number of processes beside another number that was started.

    Raises:
        ConfigError: Naming both.
    """
    if asked is not None and asked < 1:
        raise ConfigError(f"--processes is {asked}; expected 1 or more")
    if asked is not None and started not in (1, asked):
        raise ConfigError(f"--processes is {asked}, and {started} were started; leave it out, or start one")


def _dtype(task: Task[Any, Any]) -> torch.dtype:
    """Return the type in which activations are computed."""
    return DTYPES[precision_of(task.accelerator)]
