"""Frozen models whose features are compared: raw pixels, random weights, and checkpoints of any layout.

A model is built when its features are asked for, and stays in memory no longer than whoever asked keeps it.

Legend: B batch, S = 1 + N tokens, N patches, D hidden.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from beit.config import BeitConfig
from beit.evaluation.features.layers import Layers, patch_pixels, pixel_features
from beit.geometry import patch_grid
from beit.image import COLOURS, BandOptions, Preprocessing
from beit.image.model_view import evaluation_view
from beit.models_torch import BeitModel
from beit.models_torch.device import Precision, computing_in
from beit.settings.benchmark import RANDOM, BenchmarkJob
from beit.settings.channels import band_options, check_channels, check_range
from beit.settings.inputs import preprocessing
from beit.settings.model import model_config
from beit.weights.checkpoint import Checkpoint, open_checkpoint
from beit.weights.storage.held_tensor import HeldTensor
from beit.weights.storage.lazy_tensor import LazyTensor

Kind = Literal["pixels", "random", "model"]
PIXELS_NAME, RANDOM_NAME = "raw pixels", "random weights"
_PIXEL_SIDE = 32  # of the pictures whose raw pixels are features
_ARCHITECTURE = (
    "image_size", "patch_size", "num_channels", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "intermediate_size", "hidden_act", "layer_norm_eps", "layer_scale_init_value", "initializer_range",
    "use_absolute_position_embeddings", "use_relative_position_bias", "use_shared_relative_position_bias",
)  # fmt: skip


@dataclass(frozen=True)
class Frozen:
    """Frozen features of one kind.

    Attributes:
        name: In the table.
        kind: What they are.
        view: What is seen of a picture.
        view_from: Source of that, in words.
        open: Builds the model: tensors of a batch to the patch features (B, N, D) of every layer.
        grid_hw: Rows and columns of its patches.
        content: Returns a text that changes with the weights and the options of the model.
        parameters: Number of parameters.
        build: Builds the model of random weights, which no checkpoint holds; None of everything else.
    """

    name: str
    kind: Kind
    view: Preprocessing
    view_from: str
    open: Callable[[], Layers]
    grid_hw: tuple[int, int]
    content: Callable[[], str]
    parameters: int
    build: Callable[[], BeitModel] | None = None


def open_models(job: BenchmarkJob) -> dict[str, Checkpoint]:
    """Open the checkpoints of a job by name; headers alone are read.

    Raises:
        CheckpointError: If one cannot be found or read.
        ConfigError: If its config is missing or invalid.
    """
    return {name: open_checkpoint(name) for name in job.models if name != RANDOM}


def frozen_models(
    job: BenchmarkJob, checkpoints: Mapping[str, Checkpoint], device: torch.device, precision: Precision
) -> list[Frozen]:
    """Return raw pixels, then every model after random weights of its architecture, unless those have been before.

    Where there are label maps, the raw pixels are those of the first model's patches.

    Raises:
        ConfigError: If a config or a preprocessor is not understood, or no model can be built from the settings.
    """
    rows: list[Frozen] = []
    bands = band_options(job.data)
    if not checkpoints:
        config = model_config(job.model, num_channels=job.data.channels)
        view = preprocessing(job.model, config.image_hw, bands=bands), "the settings of model"
        rows.append(_random(RANDOM_NAME, config, view, job.seed, device, precision))
    seen: list[str] = []
    for name, checkpoint in checkpoints.items():
        config = BeitConfig.from_dict(checkpoint.options)
        check_channels(job.data, config.num_channels, name)
        check_range(bands, name)
        view = evaluation_view(name, config.image_hw)
        if (shape := _architecture(config)) not in seen:
            said = f"{RANDOM_NAME}, as {name}" if seen else RANDOM_NAME
            rows.append(_random(said, config, view, job.seed, device, precision))
            seen.append(shape)
        opened = _opener(partial(_loaded, checkpoint, device), precision)
        content = partial(_checkpoint_content, checkpoint)
        rows.append(Frozen(name, "model", *view, opened, _grid(config), content, _parameters(config)))
    return [raw_pixels(bands) if job.label_maps.path is None else raw_patches(rows[0]), *rows]


def raw_pixels(bands: BandOptions | None = None) -> Frozen:
    """Return the pixels as features: the centre square of a picture, as 16 x 16 pixels in colour or all channels."""
    options = bands or BandOptions(COLOURS)
    half = (0.5,) * options.channels
    reading = {"value_range": options.value_range, "frame": options.frame}
    view = Preprocessing.cropping((_PIXEL_SIDE, _PIXEL_SIDE), 1.0, mean=half, std=half, **reading)
    return Frozen(
        PIXELS_NAME, "pixels", view, "the centre square", lambda: pixel_features, (1, 1), lambda: PIXELS_NAME, 0
    )


def raw_patches(model: Frozen) -> Frozen:
    """Return the pixels of every patch of a model as features, each averaged to at most 16 x 16 pixels in colour."""
    seen_by = f"the patches of {model.name}"
    opened = partial(patch_pixels, model.grid_hw)
    return Frozen(PIXELS_NAME, "pixels", model.view, seen_by, opened, model.grid_hw, lambda: PIXELS_NAME, 0)


def _random(
    name: str,
    config: BeitConfig,
    view: tuple[Preprocessing, str],
    seed: int,
    device: torch.device,
    precision: Precision,
) -> Frozen:
    """Return random weights of an architecture."""
    build = partial(_random_model, config, seed, device)
    content = f"{RANDOM_NAME} of seed {seed}, {_architecture(config)}"
    opened = _opener(build, precision)
    return Frozen(name, "random", *view, opened, _grid(config), lambda: content, _parameters(config), build)


def _opener(build: Callable[[], BeitModel], precision: Precision) -> Callable[[], Layers]:
    """Return what builds a model and returns the patch features of its layers."""
    return lambda: _layers_of(build(), precision)


def _layers_of(model: BeitModel, precision: Precision) -> Layers:
    """Return what gives the patch features of every layer of a model."""

    def layers(tensors: Mapping[str, Tensor]) -> list[Tensor]:
        with computing_in(precision, model.device):
            pixels_BCHW = tensors["pixel_values"].to(model.device)
            states = model(pixels_BCHW, output_hidden_states=True, return_dict=True).hidden_states
        return [tokens_BSD[:, 1:] for tokens_BSD in states[1:]]

    return layers


def _loaded(checkpoint: Checkpoint, device: torch.device) -> BeitModel:
    return BeitModel.from_checkpoint(checkpoint, add_pooling_layer=False, device=device)


def _random_model(config: BeitConfig, seed: int, device: torch.device) -> BeitModel:
    """Return a model with the weights that a training would start from; the random stream of the host stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BeitModel(config, add_pooling_layer=False).to(device).eval()


def _grid(config: BeitConfig) -> tuple[int, int]:
    grid = patch_grid(config.image_size, config.patch_size)
    return grid.height, grid.width


def _parameters(config: BeitConfig) -> int:
    """Return the number of parameters, of which none takes memory."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in BeitModel(config, add_pooling_layer=False).parameters())


def _checkpoint_content(checkpoint: Checkpoint) -> str:
    """Return the options of a checkpoint, and a hash of each of its files; where they lie makes no difference."""
    stored = [entry.stored for entry in checkpoint.tensors.values()]
    hashes = [hashlib.sha256(one.read().tobytes()).hexdigest() for one in stored if isinstance(one, HeldTensor)]
    for path in {one.file.path for one in stored if isinstance(one, LazyTensor)}:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return json.dumps([checkpoint.options, sorted(hashes)], sort_keys=True, default=str)


def _architecture(config: BeitConfig) -> str:
    """Return the options that decide what random weights compute."""
    return json.dumps([getattr(config, name) for name in _ARCHITECTURE], default=str)
