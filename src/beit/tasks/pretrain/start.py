"""What a pre-training starts from, checked before anything is written: for the run itself, and for its forecast."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beit.config import BeitConfig
from beit.data import ImageSource, MaskPlan, StoredTokens, ViewDataset, Views
from beit.errors import ConfigError
from beit.geometry import Grid, patch_grid
from beit.models_torch import BeitForMaskedImageModeling
from beit.settings.inputs import augmentation, preprocessing
from beit.settings.model import model_config, training_options
from beit.settings.pretrain import MaskSettings, PretrainJob
from beit.settings.tokenizer import TokenizerJob
from beit.tasks.pretrain.checks import (
    check_aggregation,
    check_compiled,
    check_one_tokenizer,
    check_tokenizer,
    starting_config,
)
from beit.tokenizer import VisualTokenizer, load_tokenizer


@dataclass(frozen=True)
class Start:
    """The parts of a pre-training that fit together.

    Attributes:
        config: Of the model.
        grid: Its patches.
        mask: How they are masked.
        tokenizer: The one that is given or named; None: one is trained first.
        checkpoint: The model to continue from; None: a new one.
    """

    config: BeitConfig
    grid: Grid
    mask: MaskPlan
    tokenizer: VisualTokenizer | None
    checkpoint: BeitForMaskedImageModeling | None


def pretraining_start(job: PretrainJob, tokenizer: VisualTokenizer | None = None) -> Start:
    """Return the parts of a pre-training; impossible sizes and damaged files fail here.

    Args:
        job: The settings.
        tokenizer: The one to use; None: the one that the job names, if it names one.

    Raises:
        ConfigError: If model, tokenizer and masks do not fit together, or there are two tokenizers.
        CheckpointError: If a model or tokenizer cannot be found or read.
    """
    config = starting_config(job)
    grid = patch_grid(config.image_size, config.patch_size)
    mask = mask_plan(job.mask, grid)
    check_aggregation(job.aggregation, config)
    check_one_tokenizer(job, tokenizer)
    check_compiled(job, tokenizer)
    if job.tokenizer.path is not None:
        tokenizer = load_tokenizer(job.tokenizer.path)
    check_tokenizer(job, tokenizer, config, grid)
    return Start(config, grid, mask, tokenizer, _checkpoint_model(job))


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


def pretraining_model(job: PretrainJob, start: Start, tokenizer: VisualTokenizer) -> BeitForMaskedImageModeling:
    """Return the model to train: the checkpoint's, or one whose random weights are those of the seed."""
    torch.manual_seed(job.run.seed)
    if start.checkpoint is not None:
        return start.checkpoint
    return BeitForMaskedImageModeling(model_config(job.model, vocab_size=tokenizer.vocab_size))


def pretraining_views(job: PretrainJob, config: BeitConfig, stride: int, grid: Grid) -> Views:
    """Return the random views of pre-training: one crop for the model and for the tokenizer."""
    view = preprocessing(job.model, config.image_hw, job.checkpoint)
    return Views(view, augmentation(job.augment), (grid.height * stride, grid.width * stride))


def training_views(job: PretrainJob, views: Views, source: ImageSource, stored: StoredTokens | None) -> ViewDataset:
    """Return the pictures to train on; those whose tokens are stored need no view for the tokenizer."""
    shown = views if stored is None else replace(views, tokenizer_hw=None)
    return ViewDataset(source, shown, job.run.seed, True, job.fixed_views, stored)


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


def _checkpoint_model(job: PretrainJob) -> BeitForMaskedImageModeling | None:
    if job.checkpoint is None:
        return None
    options: dict[str, Any] = dict(training_options(job.model))
    return BeitForMaskedImageModeling.from_pretrained(job.checkpoint, output_loading_info=False, **options)
