"""Adaptation of a checkpoint to a model: place of the encoder, shared bias, channels, size of the pictures.

All names are canonical. Legend: C channels, D hidden, h x w pixels of a patch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from beit.config import BeitConfig
from beit.geometry import Grid, num_relative_positions, patch_grid, resize_bias_table, resize_positions
from beit.weights.rules import Entry

Tensor = TypeVar("Tensor")
ENCODER = ("embeddings.", "encoder.", "pooler.")
_TABLE = "relative_position_bias.relative_position_bias_table"
_POSITIONS = "embeddings.position_embeddings"
_METHODS = {
    "cubic": "the authors' cubic method",
    "linear": "timm's linear method",
    "bilinear": "bilinear interpolation",
}
_PROJECTION = "embeddings.patch_embeddings.projection.weight"
COLOURS = 3  # channels of a checkpoint that can be inflated


def with_root(tensors: Mapping[str, Tensor], wanted: bool) -> dict[str, Tensor]:
    """Put the encoder under "beit." (a model with a head) or take it out (the bare `BeitModel`).

    A bare model has no use for heads; their tensors keep their names behind "head:" and are reported as left out.
    """
    has_root = any(name.startswith("beit.") for name in tensors)
    placed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix("beit.")
        # some files hold both forms; "layernorm" alone is a head's own norm wherever the root is used
        in_encoder = name != bare or bare.startswith(ENCODER) or (not has_root and bare.startswith("layernorm."))
        if in_encoder:
            placed[f"beit.{bare}" if wanted else bare] = tensor
        else:
            placed[name if wanted or name.startswith("fpn") else f"head:{name}"] = tensor
    return placed


def shared_bias_to_layers(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Copy the relative position bias that pre-training shares into every layer.

    Source: the fine-tuning scripts of the original implementation.
    """
    adapted: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(rf"(beit\.|)encoder\.{_TABLE}", name)
        if match is None:
            adapted[name] = tensor
            continue
        for layer in range(layers):
            adapted[f"{match[1]}encoder.layer.{layer}.attention.attention.{_TABLE}"] = tensor
    return adapted


def resized(
    tensors: Mapping[str, Entry], source: Grid, target: Grid, method: str
) -> tuple[dict[str, Entry], list[str]]:
    """Resize bias tables and absolute positions to another grid.

    Returns:
        The tensors, and the names of those that were resized.
    """
    if source == target:
        return dict(tensors), []
    adapted, names = dict(tensors), list[str]()
    for name, entry in tensors.items():
        if name.endswith(_TABLE) and entry.shape[0] == num_relative_positions(source):
            shape = (num_relative_positions(target), *entry.shape[1:])
            change = partial(resize_bias_table, source=source, target=target, method=method)
        elif name.endswith(_POSITIONS) and entry.shape[1] == 1 + source.patches:
            shape = (1, 1 + target.patches, *entry.shape[2:])
            change = partial(resize_positions, source=source, target=target)
        else:
            continue
        adapted[name] = entry.changed(shape, change)
        names.append(name)
    return adapted, names


def adapt_tensors(
    tensors: Mapping[str, Entry], before: BeitConfig, config: BeitConfig, method: str, rooted: bool
) -> tuple[dict[str, Entry], list[str], list[str]]:
    """Adapt the tensors of a checkpoint to a model.

    Args:
        tensors: Under canonical names.
        before: The config of the checkpoint.
        config: The config of the model.
        method: Method by which bias tables are resized.
        rooted: Whether the model keeps its encoder under "beit.".

    Returns:
        The tensors, a description of every change, and the names of those that were resized.
    """
    adapted, done = with_root(tensors, rooted), list[str]()
    if config.use_relative_position_bias and not config.use_shared_relative_position_bias:
        count = len(adapted)
        adapted = shared_bias_to_layers(adapted, config.num_hidden_layers)
        if len(adapted) != count:
            done.append("the shared relative position bias was copied into every layer")
    if before.num_channels == COLOURS != config.num_channels:  # others do not fit, which a comparison says
        adapted = inflated(adapted, config.num_channels)
        done.append(inflation_in_words(config.num_channels))
    source, target = (patch_grid(options.image_size, options.patch_size) for options in (before, config))
    adapted, names = resized(adapted, source, target, method)
    sizes = f"from {source.height} x {source.width} to {target.height} x {target.width} patches"
    if any(name.endswith(_TABLE) for name in names):
        done.append(f"the relative position bias was resized {sizes} by {_METHODS[method]}")
    if any(name.endswith(_POSITIONS) for name in names):
        done.append(f"the absolute positions were resized {sizes} by bicubic interpolation")
    return adapted, done, sorted(names)


def inflated(tensors: Mapping[str, Entry], channels: int) -> dict[str, Entry]:
    """Return the tensors of a checkpoint of three channels, under canonical names, for another number of channels."""
    change = partial(inflate_patches, channels=channels)
    return {
        name: entry.changed((entry.shape[0], channels, *entry.shape[2:]), change)
        if name.endswith(_PROJECTION) and len(entry.shape) == 4
        else entry
        for name, entry in tensors.items()
    }


def inflation_in_words(channels: int) -> str:
    """Return what was done to the patch embedding, for the report of a loading."""
    how = "repeated, each copy with its share" if channels > COLOURS else "summed"
    return f"the patch embedding was inflated from 3 to {channels} channels: the weights of colours were {how}"


def inflate_patches(weight_D3hw: NDArray[np.floating], channels: int) -> NDArray[np.floating]:
    """Return the weights (D, C, h, w) of a patch embedding for other than three channels.

    Colours are repeated in turn (red, green, blue, red, ...), and the copies of one share its weight, so that a picture
    whose channels are repeated in this way gives what its three channels gave. One or two channels share the sum, which
    is for grey what all three gave.
    """
    if channels < COLOURS:
        return np.repeat(weight_D3hw.sum(axis=1, keepdims=True) / channels, channels, axis=1)
    colours_C = np.arange(channels) % COLOURS
    copies_C = np.bincount(colours_C)[colours_C].astype(weight_D3hw.dtype)
    return weight_D3hw[:, colours_C] / copies_C[:, None, None]
