"""Starting point of a pre-training: config, masks, tokenizer, and checks that they fit before any work is done."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from beit.config import BeitConfig
from beit.data import StoredTokens, check_identity, fingerprint
from beit.engine.processes import found_by_first
from beit.engine.schedule import Schedule, check_batches
from beit.errors import ConfigError
from beit.geometry import Grid, MaskPlan
from beit.hub import HubOptions, file_beside
from beit.models_torch import BeitForMaskedImageModeling, MaskedPatchDecoder
from beit.models_torch.masked_patch_decoder import DECODER_NAME, check_positions
from beit.settings.channels import check_channels
from beit.settings.inputs import open_to_train
from beit.settings.model import check_channels_of, check_same_shape, model_config, training_options
from beit.settings.pretrain import AggregationSettings, PretrainJob
from beit.settings.tokenizer import TokenizerJob
from beit.tasks.tokenizer.dvae import check_optimiser
from beit.tasks.tokenizer.token_identity import token_identity
from beit.tokenizer import DiscreteVAEConfig, VisualTokenizer, tokenizer_fingerprint
from beit.tokenizer.base import check_side

logger = logging.getLogger("beit")


def starting_config(job: PretrainJob) -> BeitConfig:
    """Return the config of the model that is pre-trained: a new one, or the checkpoint's.

    Raises:
        ConfigError: If no such model can be built, or the recipe asks for other sizes than the checkpoint has.
    """
    if job.checkpoint is None:
        return model_config(job.model, num_channels=job.data.channels)
    config = BeitConfig.from_pretrained(job.checkpoint)
    check_same_shape(job.model, config, job.checkpoint)
    check_channels_of(config, job.data.channels, job.checkpoint)
    config.num_channels = job.data.channels
    if not config.use_mask_token:
        raise ConfigError(
            f"{job.checkpoint} has no mask token, so it was not made by masked image modelling; name a model that was"
        )
    return config


def checkpoint_model(job: PretrainJob) -> BeitForMaskedImageModeling | None:
    """Return the model to continue from, None for a new one.

    Raises:
        CheckpointError: If it cannot be found or read.
    """
    if job.checkpoint is None:
        return None
    options: dict[str, Any] = {**training_options(job.model), "num_channels": job.data.channels}
    return BeitForMaskedImageModeling.from_pretrained(job.checkpoint, output_loading_info=False, **options)


def decoder_of(checkpoint: str, model: BeitForMaskedImageModeling, layers: int) -> MaskedPatchDecoder | None:
    """Return the decoder that lies beside a checkpoint; None where there is none of so many layers, which is said.

    Raises:
        CheckpointError: If it is damaged, or of another model.
    """
    path = file_beside(checkpoint, DECODER_NAME, HubOptions())
    decoder = None if path is None else MaskedPatchDecoder.from_file(model, path)
    found = 0 if decoder is None else len(decoder.encoder.layer)
    if found == layers:
        return decoder
    held = f"a decoder of {found} layers" if found else f"no {DECODER_NAME} beside it"
    logger.warning("%s has %s, and decoder.layers is %d: a new decoder is trained", checkpoint, held, layers)
    return None


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
        validation=settings.validation,
        early_stop=settings.early_stop,
    )


def check_tokenizer_training(job: PretrainJob, tokenizer: VisualTokenizer | None) -> None:
    """Refuse to train a tokenizer first by Muon.

    Raises:
        ConfigError: Naming the settings.
    """
    if tokenizer is None and job.tokenizer.path is None:
        check_optimiser(job.tokenizer.optim, "tokenizer.")


def check_lengths(job: PretrainJob, tokenizer: VisualTokenizer | None, pictures: int, world: int) -> None:
    """Refuse batches and lengths that cannot be, those of the tokenizer that is trained first included.

    Raises:
        ConfigError: Naming the settings.
    """
    own = {"tokenizer.train.batch_size": job.tokenizer.train.batch_size} if tokenizer is None else {}
    check_batches(pictures, {"train.batch_size": job.train.batch_size, **own})
    Schedule(job.optim, job.train, pictures).check(world)
    if tokenizer is None:
        Schedule(job.tokenizer.optim, job.tokenizer.train, pictures).check(world, "tokenizer.")


def check_aggregation(settings: AggregationSettings, config: BeitConfig) -> None:
    """Refuse an early layer that the model does not have.

    Raises:
        ConfigError: Naming the layer and the model's depth.
    """
    depth = config.num_hidden_layers
    if settings.early_layer is not None and settings.early_layer > depth:
        raise ConfigError(
            f"aggregation.early_layer is {settings.early_layer}; expected 1 to {depth}, a layer of the model"
        )


def check_decoder(job: PretrainJob, config: BeitConfig, mask: MaskPlan) -> None:
    """Refuse a decoder of masked patches beside patch aggregation, in JAX, or for masks or positions that do not fit.

    Raises:
        ConfigError: Naming the settings and what to do.
    """
    if job.decoder.layers is None:
        return
    if job.run.framework == "jax":
        raise ConfigError("decoder.layers is set, which run.framework jax does not have; set it to torch")
    if job.aggregation.early_layer is not None:
        raise ConfigError(
            "decoder.layers and aggregation.early_layer are set, and patch aggregation needs mask tokens in the "
            "encoder; leave one of them out"
        )
    check_positions(config)
    if mask.kind != "random" and not mask.exact:
        raise ConfigError(
            "decoder.layers is set and masks differ in their number of patches; set --mask.exact true, or --mask.kind "
            "random"
        )
    if mask.count >= mask.grid.patches:
        raise ConfigError(
            f"decoder.layers is set and mask.count is {mask.count}, which leaves none of {mask.grid.patches} patches "
            f"to encode; set it to {mask.grid.patches - 1} at most"
        )


def check_one_tokenizer(job: PretrainJob, tokenizer: VisualTokenizer | None) -> None:
    """Refuse a tokenizer that is given beside one that is named.

    Raises:
        ConfigError: Naming both.
    """
    if tokenizer is not None and job.tokenizer.path is not None:
        raise ConfigError(
            f"tokenizer.path is {job.tokenizer.path!r}, and a {type(tokenizer).__name__} is given; expected one "
            "tokenizer: leave one of them out"
        )


def check_keep_best(job: PretrainJob) -> None:
    """Refuse two ways to choose the best model, which has one place.

    Raises:
        ConfigError: Naming both.
    """
    if job.keep_best.on is None:
        return
    if job.validation.every != 0:
        raise ConfigError(
            f"keep_best.on is {job.keep_best.on}, and validation keeps that of the least held-out loss in best/: leave "
            "out keep_best.on, or set validation.every to 0"
        )
    if job.monitor.every == 0:
        raise ConfigError(
            f"keep_best.on is {job.keep_best.on} and monitor.every is 0, which measures nothing; set it to auto"
        )


def check_vocabulary(model: int, tokenizer: int) -> None:
    """Refuse a codebook that the model's head has no logits for.

    Raises:
        ConfigError: Naming both sizes.
    """
    if tokenizer > model:
        raise ConfigError(
            f"the tokenizer has {tokenizer} codes and the model predicts {model} tokens; use a model with vocab_size "
            f"{tokenizer}, or a smaller tokenizer"
        )


def check_tokenizer(job: PretrainJob, tokenizer: VisualTokenizer | None, config: BeitConfig, grid: Grid) -> None:
    """Refuse a tokenizer that does not give one of the model's tokens per patch; None is the one yet to be trained.

    Raises:
        ConfigError: Naming both grids, or both vocabularies.
    """
    codebook = job.tokenizer.codebook
    own = getattr(getattr(tokenizer, "config", None), "channels", job.data.channels)  # another's may not say
    check_channels(job.data, own, "the tokenizer")
    if tokenizer is None:
        vocab_size, stride = codebook.vocab_size, DiscreteVAEConfig(**asdict(codebook)).patch_size
    else:
        vocab_size, stride = tokenizer.vocab_size, tokenizer.stride
    if job.checkpoint is not None:
        check_vocabulary(config.vocab_size, vocab_size)
    side = job.tokenizer.image_size
    if side is None:
        return
    check_side(side, stride, "tokenizer.image_size")
    if (side // stride, side // stride) != tuple(grid):
        height, width = config.image_hw
        remedy = f"set it to {grid.height * stride}, or leave it out" if grid.height == grid.width else "leave it out"
        raise ConfigError(
            f"tokenizer.image_size {side} at {stride} pixels per token gives {side // stride} x {side // stride} "
            f"tokens, and the model has {grid.height} x {grid.width} patches ({height} x {width} pixels at "
            f"{config.patch_hw[0]}); {remedy}"
        )


def stored_tokens(
    job: PretrainJob, tokenizer: VisualTokenizer | None, grid: Grid, accelerator: Accelerator
) -> StoredTokens | None:
    """Return the stored tokens that a job names, None if it names none; they must be of its tokenizer, data and views.

    The first process alone asks every file for its size.

    Raises:
        ConfigError: Naming what differs.
        DataError: If the folder cannot be read or is not complete.
    """
    folder = job.tokenizer.tokens
    if folder is None:
        return None
    if tokenizer is None or job.fixed_views is None:
        missing = "tokenizer.path" if tokenizer is None else "fixed_views"
        raise ConfigError(f"tokenizer.tokens is {folder!r} but {missing} is not set; stored tokens are of both")
    image_hw = (grid.height * tokenizer.stride, grid.width * tokenizer.stride)
    stored = StoredTokens(folder, tokenizer.vocab_size)
    expected = token_identity(
        tokenizer_fingerprint(tokenizer),
        found_by_first(accelerator, lambda: fingerprint(open_to_train(job.data))),
        image_hw,
        job.fixed_views,
        job.augment,
        job.run.seed,
    )
    check_identity(
        folder,
        stored.identity,
        expected,
        f"encode again: `beit tokenizer encode` with the same tokenizer, data and augment, --image_size {image_hw[0]} "
        f"--views {job.fixed_views} --seed {job.run.seed}",
    )
    return stored
