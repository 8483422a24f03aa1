"""What a pre-training would cost, told before it is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator

from beit.data import Collate, ImageSource
from beit.engine.device import make_accelerator, reproducible
from beit.engine.hardware import gemm_rate, peak_memory
from beit.engine.plan import Plan
from beit.engine.processes import one_run
from beit.engine.run_folder import RunFolder
from beit.engine.schedule import total_steps
from beit.engine.timed_steps import timed_steps
from beit.errors import ConfigError
from beit.models_torch import BeitForMaskedImageModeling
from beit.settings.inputs import open_sources
from beit.settings.pretrain import PretrainJob
from beit.settings.tokenizer import TokenizerJob
from beit.tasks.pretrain.checks import check_lengths, stored_tokens
from beit.tasks.pretrain.cost import memory_estimate, training_flops
from beit.tasks.pretrain.start import (
    pretraining_model,
    pretraining_start,
    pretraining_views,
    tokenizer_job,
    training_views,
)
from beit.tasks.pretrain.task import PretrainRun
from beit.tasks.tokenizer.dvae import tokenizer_run
from beit.tasks.tokenizer.wiring import random_views
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, TokenEncoder

_FEW_PICTURES = 8  # of a process, in the timed steps of a tokenizer


@dataclass(frozen=True)
class Cost:
    """What is known of a run before its first step.

    Attributes:
        parameters: Of the model.
        pictures: To train on.
        steps: Of the whole run.
        processes: That share a batch.
        flops_per_picture: Of the model in a training step, without the tokenizer.
        memory: Estimated bytes of one process by what they are for.
    """

    parameters: int
    pictures: int
    steps: int
    processes: int
    flops_per_picture: float
    memory: dict[str, float]


@dataclass(frozen=True)
class Speed:
    """What the first steps of a run took on one process.

    Attributes:
        seconds_per_step: Median of the timed steps, their data and their tokens included.
        tokenizer_share: Share of that time in which the tokenizer makes the tokens.
        data_share: Share of that time in which the step waits for pictures.
        flops_utilisation: Share of the rate of a large matrix product here that the model reached.
        peak_memory: Bytes that this process held meanwhile.
        communicates: Whether the processes were there, so that the time has their communication in it.
        tokenizer_seconds: Of the whole training of the tokenizer that comes first; None if there is one.
    """

    seconds_per_step: float
    tokenizer_share: float
    data_share: float
    flops_utilisation: float
    peak_memory: int
    communicates: bool
    tokenizer_seconds: float | None


@one_run
def forecast(job: PretrainJob, tell: Callable[[Cost], None], processes: int | None = None) -> Speed:
    """Tell what a run would need, then take some of its steps, and return what they took; nothing is written.

    A tokenizer that is yet to be trained is stood in for by one of the same size; some steps of its own training are
    timed too.

    Args:
        job: The settings.
        tell: Called with what is known before the first step.
        processes: Of the run, where this is one process; default: as many as there are.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures.
        BeitError: If a step needs more memory than there is.
    """
    start = pretraining_start(job)
    sources = open_sources(job.data, job.run.seed)
    accelerator = make_accelerator(job.run)
    pictures, world = len(sources.train), _processes(processes, accelerator.num_processes)
    check_lengths(job, start.tokenizer, pictures, world)
    stored = stored_tokens(job, start.tokenizer, start.grid)
    tokenizer, own = start.tokenizer, tokenizer_job(job, start.grid, Path(job.run.output) / "tokenizer")
    if tokenizer is None:
        tokenizer = DiscreteVAE(DiscreteVAEConfig(**asdict(own.codebook), image_size=own.image_size))
    model = pretraining_model(job, start, tokenizer)
    flops, parameters = training_flops(model.config, start.mask.count), model.num_parameters()
    memory = _memory(job, model, accelerator, world, start.mask.count)
    tell(Cost(parameters, pictures, total_steps(job.train, pictures), world, flops, memory))

    with TemporaryDirectory() as nowhere, reproducible():
        encoding = job.tokenizer.encoding
        encoder = TokenEncoder(tokenizer, accelerator.device, encoding.precision, encoding.compile)
        run = PretrainRun(model, encoder, job)
        views = pretraining_views(job, start.config, tokenizer.stride, start.grid)
        dataset = training_views(job, views, sources.train, stored)
        collate = Collate(job.run.seed, start.mask)
        plan = Plan("dry run", job.run, job.data, job.optim, job.train, dataset, collate)
        timed = timed_steps(plan, run, RunFolder(nowhere), accelerator, world)
        held = peak_memory(accelerator.device)
        tokenizer_seconds = None
        if start.tokenizer is None:
            tokenizer_seconds = _tokenizer_seconds(own, sources.train, accelerator, world, RunFolder(nowhere))
    step = median(one.step for one in timed)
    reached = flops * (job.train.batch_size // world) / step
    return Speed(
        seconds_per_step=step,
        tokenizer_share=sum(one.preparing for one in timed) / sum(one.step for one in timed),
        data_share=sum(one.data for one in timed) / sum(one.step for one in timed),
        flops_utilisation=reached / gemm_rate(accelerator.device, _activations(accelerator)),
        peak_memory=held,
        communicates=accelerator.num_processes > 1,
        tokenizer_seconds=tokenizer_seconds,
    )


def _tokenizer_seconds(
    job: TokenizerJob, source: ImageSource, accelerator: Accelerator, world: int, folder: RunFolder
) -> float:
    """Return what the training of a tokenizer would take, of some of its steps with a few pictures each.

    Its whole batch may take far more memory and time than anybody gives a forecast.
    """
    run, collate = tokenizer_run(job), Collate(job.run.seed)
    few = min(job.train.batch_size, _FEW_PICTURES * world)
    train = replace(job.train, batch_size=few, accumulate=1)
    plan = Plan("dry run", job.run, job.data, job.optim, train, random_views(job, source), collate)
    step = median(one.step for one in timed_steps(plan, run, folder, accelerator, world, "tokenizer."))
    return total_steps(job.train, len(source)) * step * job.train.batch_size / few


def _processes(asked: int | None, started: int) -> int:
    """Return the processes of the run: as many as were started, or as one process is asked to stand for."""
    if asked is None:
        return started
    if asked < 1:
        raise ConfigError(f"--processes is {asked}; expected 1 or more")
    if started not in (1, asked):
        raise ConfigError(f"--processes is {asked}, and {started} were started; leave it out, or start one")
    return asked


def _memory(
    job: PretrainJob, model: BeitForMaskedImageModeling, accelerator: Accelerator, world: int, masked: int
) -> dict[str, float]:
    """Return the estimated bytes of one process."""
    dtype = _activations(accelerator)
    at_once = -(-job.train.batch_size // world // job.train.accumulate)
    lean = accelerator.device.type == "cpu" and dtype == torch.float32
    memory = memory_estimate(model, model.config, at_once, masked, dtype.itemsize, lean)
    weights = "weights and optimiser"
    parts = {weights: memory.pop(weights)}
    if job.train.ema_decay is not None:
        parts["moving average"] = float(sum(tensor.nbytes for tensor in model.state_dict().values()))
    if job.run.sharding == "fsdp":
        parts = {name: amount / world for name, amount in parts.items()}
    return {**parts, **memory}


def _activations(accelerator: Accelerator) -> torch.dtype:
    return torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
