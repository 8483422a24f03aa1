"""Frozen models whose features are compared: raw pixels, random weights, and checkpoints of any layout.

Legend: B batch, S = 1 + N tokens, N patches, D hidden.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from beit.config import BeitConfig
from beit.evaluation.features.layers import Layers, pixel_features
from beit.image import Preprocessing
from beit.image.model_view import evaluation_view
from beit.models_torch import BeitModel
from beit.models_torch.device import Precision, computing_in
from beit.settings.benchmark import RANDOM, BenchmarkJob
from beit.settings.inputs import preprocessing
from beit.settings.model import model_config
from beit.weights.checkpoint import Checkpoint, open_checkpoint

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
        layers: Tensors of a batch to the patch features (B, N, D) of every layer.
        parameters: Number of parameters.
    """

    name: str
    kind: Kind
    view: Preprocessing
    view_from: str
    layers: Layers
    parameters: int


def open_models(job: BenchmarkJob) -> dict[str, Checkpoint]:
    """Open the checkpoints of a job by name; headers alone are read.

    Raises:
        CheckpointError: If one cannot be found or read.
        ConfigError: If its config is missing or invalid.
    """
    return {name: open_checkpoint(name) for name in job.models if name != RANDOM}


def frozen_models(
    job: BenchmarkJob, checkpoints: Mapping[str, Checkpoint], device: torch.device, precision: Precision
) -> Iterator[Frozen]:
    """Yield raw pixels, then every model after random weights of its architecture, unless those have been before.

    Only one model is in memory at a time.

    Raises:
        CheckpointError: If a checkpoint does not fit its config.
        ConfigError: If a preprocessor is not understood, or no model can be built from the settings.
    """
    yield raw_pixels()
    if not checkpoints:
        config = model_config(job.model)
        view = preprocessing(job.model, config.image_hw), "the settings of model"
        yield _frozen(RANDOM_NAME, "random", _random_model(config, job.seed, device), view, precision)
    seen: list[str] = []
    for name, checkpoint in checkpoints.items():
        model = BeitModel.from_checkpoint(checkpoint, add_pooling_layer=False, device=device)
        view = evaluation_view(name, model.config.image_hw)
        if (shape := _architecture(model.config)) not in seen:
            said = f"{RANDOM_NAME}, as {name}" if seen else RANDOM_NAME
            yield _frozen(said, "random", _random_model(model.config, job.seed, device), view, precision)
            seen.append(shape)
        yield _frozen(name, "model", model, view, precision)


def raw_pixels() -> Frozen:
    """Return the pixels as features: the centre square of a picture, as 16 x 16 pixels in colour."""
    view = Preprocessing.cropping((_PIXEL_SIDE, _PIXEL_SIDE), 1.0)
    return Frozen(PIXELS_NAME, "pixels", view, "the centre square", pixel_features, 0)


def _frozen(name: str, kind: Kind, model: BeitModel, view: tuple[Preprocessing, str], precision: Precision) -> Frozen:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Frozen(name, kind, *view, _layers_of(model, precision), parameters)


def _layers_of(model: BeitModel, precision: Precision) -> Layers:
    """Return what gives the patch features of every layer of a model."""

    def layers(tensors: Mapping[str, Tensor]) -> list[Tensor]:
        with computing_in(precision, model.device):
            pixels_BCHW = tensors["pixel_values"].to(model.device)
            states = model(pixels_BCHW, output_hidden_states=True, return_dict=True).hidden_states
        return [tokens_BSD[:, 1:] for tokens_BSD in states[1:]]

    return layers


def _random_model(config: BeitConfig, seed: int, device: torch.device) -> BeitModel:
    """Return a model with the weights that a training would start from; the random stream of the host stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BeitModel(config, add_pooling_layer=False).to(device).eval()


def _architecture(config: BeitConfig) -> str:
    """Return the options that decide what random weights compute."""
    return json.dumps([getattr(config, name) for name in _ARCHITECTURE], default=str)
