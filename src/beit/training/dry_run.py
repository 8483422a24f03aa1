"""What a pre-training would cost, told before it is started."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import NamedTuple

import torch

from beit.data import Collate, ViewDataset, training_batches
from beit.data.order import BatchOrder
from beit.geometry import patch_grid
from beit.models_torch import BeitForMaskedImageModeling
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, TokenEncoder, load_tokenizer
from beit.training.cost import gemm_rate, memory_estimate, peak_memory, training_flops, wait_for
from beit.training.device import make_accelerator
from beit.training.inputs import open_sources
from beit.training.jobs import PretrainJob
from beit.training.micro_batches import add_gradients, micro_batches
from beit.training.model import model_config
from beit.training.optimiser import build_optimiser
from beit.training.plan import check_length, total_steps
from beit.training.pretrain import PretrainRun, mask_plan, pretrain_views
from beit.training.pretrain_checks import (
    check_aggregation,
    check_batch,
    check_tokenizer,
    starting_config,
    stored_tokens,
)

_WARM_STEPS, _TIMED_STEPS = 1, 5


class _Seconds(NamedTuple):
    """What a step took, and of that the tokenizer and the wait for pictures."""

    step: float
    tokenizer: float
    data: float


@dataclass(frozen=True)
class Forecast:
    """What a run would cost on this machine, on one process.

    Attributes:
        parameters: Of the model.
        pictures: To train on.
        steps: Of the whole run.
        flops_per_picture: Of the model in a training step, without the tokenizer.
        memory: Estimated bytes by what they are for.
        peak_memory: Bytes that this process held while the steps were timed.
        seconds_per_step: Median of the timed steps, their data and their tokens included.
        tokenizer_share: Share of that time in which the tokenizer makes the tokens.
        data_share: Share of that time in which the step waits for pictures.
        flops_utilisation: Share of the rate of a large matrix product here that the model reached.
    """

    parameters: int
    pictures: int
    steps: int
    flops_per_picture: float
    memory: dict[str, float]
    peak_memory: int
    seconds_per_step: float
    tokenizer_share: float
    data_share: float
    flops_utilisation: float

    @property
    def seconds(self) -> float:
        """Expected length of the whole run."""
        return self.steps * self.seconds_per_step


def forecast(job: PretrainJob) -> Forecast:
    """Take some steps with the settings of a job, write nothing, and return what the whole run would cost.

    A tokenizer that is yet to be trained is stood in for by one of the same size.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures.
    """
    config = starting_config(job)
    grid = patch_grid(config.image_size, config.patch_size)
    mask = mask_plan(job.mask, grid)
    check_aggregation(job.aggregation, config)
    tokenizer = load_tokenizer(job.tokenizer.path) if job.tokenizer.path is not None else None
    check_tokenizer(job, tokenizer, config, grid)
    sources = open_sources(job.data, job.run.seed)
    check_batch(job.train.batch_size, len(sources.train))
    check_length(job.train, job.optim, len(sources.train))
    stored = stored_tokens(job, tokenizer, grid)
    accelerator = make_accelerator(job.run)
    tokenizer = tokenizer or DiscreteVAE(DiscreteVAEConfig(**asdict(job.tokenizer.codebook)))
    encoder = TokenEncoder(tokenizer, accelerator.device, job.tokenizer.encoding.precision)
    model = BeitForMaskedImageModeling(model_config(job.model, vocab_size=tokenizer.vocab_size))
    run = PretrainRun(model, encoder, job)
    views = pretrain_views(job, config, tokenizer.stride, grid)
    shown = views if stored is None else replace(views, tokenizer_hw=None)
    dataset = ViewDataset(sources.train, shown, job.run.seed, True, job.fixed_views, stored)
    steps, window = _WARM_STEPS + _TIMED_STEPS, job.data.shuffle_window
    order = BatchOrder(
        len(dataset), job.train.batch_size, steps, job.run.seed, window=window, shard_sizes=dataset.shard_sizes
    )
    module, optimiser = accelerator.prepare(run.module, build_optimiser(run.groups, job.optim))
    module.train()
    seconds: list[_Seconds] = []
    began = time.perf_counter()
    for batch in training_batches(dataset, order, Collate(job.run.seed, mask), job.data.workers):
        loaded = time.perf_counter()
        tensors = run.prepare(batch.to(accelerator.device).tensors, len(seconds))
        wait_for(accelerator.device)
        encoded = time.perf_counter()
        parts = micro_batches(tensors, job.train.accumulate)
        add_gradients(accelerator, module, 0.0, parts, [run.weight(part) for part in parts])
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        wait_for(accelerator.device)
        seconds.append(_Seconds(time.perf_counter() - began, encoded - loaded, loaded - began))
        began = time.perf_counter()
    timed = seconds[_WARM_STEPS:]
    step = median(one.step for one in timed)
    dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
    flops = training_flops(model.config, mask.count)
    reached = flops * job.train.batch_size / step
    return Forecast(
        parameters=model.num_parameters(),
        pictures=len(sources.train),
        steps=total_steps(job.train, len(sources.train)),
        flops_per_picture=flops,
        memory=memory_estimate(
            model,
            model.config,
            -(-job.train.batch_size // job.train.accumulate),
            mask.count,
            dtype.itemsize,
            lean=accelerator.device.type == "cpu" and dtype == torch.float32,
        ),
        peak_memory=peak_memory(accelerator.device),
        seconds_per_step=step,
        tokenizer_share=sum(one.tokenizer for one in timed) / sum(one.step for one in timed),
        data_share=sum(one.data for one in timed) / sum(one.step for one in timed),
        flops_utilisation=reached / gemm_rate(accelerator.device, dtype),
    )
