"""Checks of arguments before JAX traces them; shapes are known under `jit` too, so they are checked there as well.

Legend: B batch, C channels, N patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from beit.config import BeitConfig, check_divisible, shown
from beit.errors import ConfigError
from beit.weights.match import Shape, check_shapes

DTYPES = ("float32", "bfloat16", "float16", "float64")


def float_dtype(wanted: Any) -> Any:
    """Return a floating-point type from itself or its name.

    Raises:
        ConfigError: If there is no such type.
    """
    name = wanted
    if not isinstance(wanted, str):
        try:
            name = jnp.dtype(wanted).name
        except TypeError:
            name = shown(wanted)
    if name not in DTYPES:
        raise ConfigError(f"dtype is {shown(wanted)}; expected one of {list(DTYPES)}, such as jnp.bfloat16")
    return jnp.dtype(name)


def check_pixels(pixel_values: Any, config: BeitConfig) -> None:
    """Refuse pictures that are no (B, C, height, width), no floats, or not tiled by patches.

    Raises:
        ConfigError: Naming shape or type.
    """
    if pixel_values is None:
        raise ConfigError("pixel_values is missing; pass images of shape (batch, channels, height, width)")
    shape, channels = tuple(np.shape(pixel_values)), config.num_channels
    if len(shape) != 4 or shape[1] != channels:
        last = len(shape) == 4 and shape[-1] == channels
        remedy = "; these are channels-last: transpose them by (0, 3, 1, 2)" if last else ""
        raise ConfigError(f"pixel_values has shape {shape}; expected (batch, {channels}, height, width){remedy}")
    kind = jnp.result_type(pixel_values)
    if not jnp.issubdtype(kind, jnp.floating):
        raise ConfigError(f"pixel_values has dtype {kind}; expected floats, from an image processor")
    if (shape[2], shape[3]) != config.image_hw:  # what is left over of the model's own size is not seen
        check_divisible((shape[2], shape[3]), config.patch_hw)


def check_mask(bool_masked_pos: Any, pixel_values: Any, config: BeitConfig) -> None:
    """Refuse a mask for another number of patches, or for a model without a mask token.

    Raises:
        ConfigError: Naming both shapes.
    """
    if not config.use_mask_token:
        raise ConfigError("bool_masked_pos was given to a model without a mask token; set use_mask_token=True")
    batch, _, height, width = np.shape(pixel_values)
    y, x = height // config.patch_hw[0], width // config.patch_hw[1]
    shape = tuple(np.shape(bool_masked_pos))
    if shape not in ((batch, y * x), (batch, y, x)):
        raise ConfigError(
            f"bool_masked_pos has shape {shape}; expected one value per patch, {(batch, y * x)} or {(batch, y, x)}"
        )


def check_dropout_rng(dropout_rng: Any, config: BeitConfig) -> None:
    """Refuse training without an rng key where dropout or drop path needs one.

    Raises:
        ConfigError: Naming the rates that are not 0.
    """
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate")
    drawn = {name: getattr(config, name) for name in names if getattr(config, name)}
    if drawn and dropout_rng is None:
        raise ConfigError(
            f"train is True and dropout_rng is missing, but {drawn}; expected a key, such as "
            "dropout_rng=jax.random.PRNGKey(0), or all rates at 0"
        )


def check_input_shape(input_shape: Any, config: BeitConfig) -> tuple[int, ...]:
    """Return the shape that a module is built with, (batch, height, width, channels).

    Raises:
        ConfigError: If no pictures have this shape.
    """
    if input_shape is None:
        return (1, *config.image_hw, config.num_channels)
    shape = tuple(input_shape)
    if len(shape) != 4 or shape[-1] != config.num_channels:
        raise ConfigError(f"input_shape is {shape}; expected (batch, height, width, {config.num_channels})")
    if (shape[1], shape[2]) != config.image_hw:
        check_divisible((shape[1], shape[2]), config.patch_hw)
    return shape


def check_params(params: Mapping[str, Any], expected: Mapping[str, Shape]) -> None:
    """Refuse parameters of another config; names are joined by dots.

    Raises:
        CheckpointError: Listing what is missing, unknown or of another shape.
    """
    found = {name: tuple(np.shape(leaf)) for name, leaf in params.items()}
    if found != dict(expected):
        check_shapes("params", found, expected)
