"""The parts that a pre-training starts from: config, masks, checkpoint, and the job of its tokenizer."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from beit.config import BeitConfig
from beit.data import MaskPlan
from beit.errors import ConfigError
from beit.geometry import Grid
from beit.models_torch import BeitForMaskedImageModeling
from beit.settings.model import check_same_shape, model_config, training_options
from beit.settings.pretrain import MaskSettings, PretrainJob
from beit.settings.tokenizer import TokenizerJob


def starting_config(job: PretrainJob) -> BeitConfig:
    """Return the config of the model that is pre-trained: a new one, or the checkpoint's.

    Raises:
        ConfigError: If no such model can be built, or the recipe asks for other sizes than the checkpoint has.
    """
    if job.checkpoint is None:
        return model_config(job.model)
    config = BeitConfig.from_pretrained(job.checkpoint)
    check_same_shape(job.model, config, job.checkpoint)
    if not config.use_mask_token:
        raise ConfigError(
            f"{job.checkpoint} has no mask token, so it was not made by masked image modelling; name a model that was"
        )
    return config


def mask_plan(settings: MaskSettings, grid: Grid) -> MaskPlan:
    """Return how to mask, after trying it so that impossible settings fail before the run.

    Raises:
        ConfigError: If the grid has no room for such masks.
    """
    plan = MaskPlan(grid, **asdict(settings))
    try:
        plan.draw([np.random.default_rng(number) for number in range(256)])
    except ConfigError as error:
        raise ConfigError(f"{error} (settings mask.count and mask.min_block)") from None
    return plan


def checkpoint_model(job: PretrainJob) -> BeitForMaskedImageModeling | None:
    """Return the model to continue from, None for a new one.

    Raises:
        CheckpointError: If it cannot be found or read.
    """
    if job.checkpoint is None:
        return None
    options: dict[str, Any] = dict(training_options(job.model))
    return BeitForMaskedImageModeling.from_pretrained(job.checkpoint, output_loading_info=False, **options)


def tokenizer_job(job: PretrainJob, grid: Grid, output: Path) -> TokenizerJob:
    """Return the job of the tokenizer that is trained first, on the same pictures, one token per patch."""
    settings = job.tokenizer
    return TokenizerJob(
        run=replace(job.run, output=str(output), framework="torch"),
        data=job.data,
        augment=replace(job.augment, color_jitter=0.0),
        image_size=grid.height * 2 ** (settings.codebook.groups - 1),
        codebook=settings.codebook,
        loss=settings.loss,
        optim=settings.optim,
        train=settings.train,
        early_stop=settings.early_stop,
    )
