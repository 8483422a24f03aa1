"""Checks of model options, each refusing bad input with value, expectation and remedy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from beit.errors import ConfigError, warn

Size = int | Sequence[int]

ACTIVATIONS = ("gelu", "relu", "selu", "gelu_new")
OUT_INDICES_MEANINGS = ("huggingface", "original")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
# No BEiT comes near these; without them a config.json from somewhere could ask for any amount of memory.
MOST = {
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**16,
    "hidden_size": 2**20,
    "intermediate_size": 2**24,
    "num_channels": 2**16,
    "image_size": 2**20,
    "patch_size": 2**20,
    "auxiliary_channels": 2**20,
    "auxiliary_num_convs": 100,
    "pool_scales": 1000,
    "num_labels": 200_000,
    "vocab_size": 1_000_000,
}
_MOST_SCALES = 32  # entries of pool_scales
_FLAGS = (
    "use_mask_token",
    "use_absolute_position_embeddings",
    "use_relative_position_bias",
    "use_shared_relative_position_bias",
    "use_mean_pooling",
    "use_auxiliary_head",
    "auxiliary_concat_input",
    "add_fpn",
    "reshape_hidden_states",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "mask_tokens_in_decoder",
    "gradient_checkpointing",
    "torchscript",
)


def pair(size: Size) -> tuple[int, int]:
    """Return a size as (height, width); an int means a square."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


def shown(value: Any, most: int = 100) -> str:
    """Return a value as it is written, cut where it would fill the screen."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def check_divisible(image_hw: tuple[int, int], patch_hw: tuple[int, int]) -> None:
    """Refuse an image, (height, width) in pixels, that whole patches do not tile.

    Raises:
        ConfigError: Naming the side, the patch size and the nearest sizes that work.
    """
    for axis, image, patch in zip(("height", "width"), image_hw, patch_hw, strict=True):
        if image < patch or image % patch:
            lower, upper = image // patch * patch, (image // patch + 1) * patch
            remedy = f"{lower} or {upper}" if lower else f"{upper}"
            raise ConfigError(f"image {axis} {image} is not a multiple of patch size {patch}; resize to {remedy}")


def warn_of_unseen(image_hw: tuple[int, int], patch_hw: tuple[int, int]) -> None:
    """Warn of pixels at the lower and right edge that no patch sees, as published models have them.

    Raises:
        ConfigError: If an image is smaller than a patch.
    """
    rest = tuple(image % patch for image, patch in zip(image_hw, patch_hw, strict=True))
    if any(image < patch for image, patch in zip(image_hw, patch_hw, strict=True)):
        check_divisible(image_hw, patch_hw)
    elif any(rest):
        warn(
            f"image_size is {image_hw[0]} x {image_hw[1]} pixels, no multiple of patch_size {patch_hw[0]} x "
            f"{patch_hw[1]}: the model does not see the last {rest[0]} rows and {rest[1]} columns; a new model should "
            "have a multiple",
        )


def _check_pruned(config: Any) -> None:
    """Refuse heads and layers that are not there, and a layer that would have no head."""
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    for layer, pruned in config.pruned_heads.items():
        if not 0 <= layer < layers or not all(0 <= head < heads for head in pruned):
            raise ConfigError(
                f"pruned_heads has {shown(pruned)} of layer {layer}; expected layers from 0 to {layers - 1} and heads "
                f"from 0 to {heads - 1}"
            )
        if len(pruned) == heads:
            raise ConfigError(f"pruned_heads has all {heads} heads of layer {layer}; expected that one is kept")


def check_options(config: Any) -> None:
    """Refuse values that no model can be built from.

    Raises:
        ConfigError: With value, expectation and remedy.
    """
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                 "num_channels", "auxiliary_channels"):  # fmt: skip
        require_whole(name, getattr(config, name), least=1, most=MOST[name])
    for name in ("image_size", "patch_size"):
        for side in pair(getattr(config, name)):
            require_whole(name, side, least=1, most=MOST[name])
    require_whole("auxiliary_num_convs", config.auxiliary_num_convs, least=0, most=MOST["auxiliary_num_convs"])
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"):
        _require_number(name, getattr(config, name), 0.0, 1.0)
    for name in ("initializer_range", "layer_norm_eps", "layer_scale_init_value", "auxiliary_loss_weight",
                 "batch_norm_eps"):  # fmt: skip
        _require_number(name, getattr(config, name), 0.0, sys.float_info.max)
    for name in _FLAGS:
        if not isinstance(getattr(config, name), bool):
            raise ConfigError(f"{name} is {shown(getattr(config, name))}; expected true or false")
    ignored = config.semantic_loss_ignore_index
    if isinstance(ignored, bool) or not isinstance(ignored, int):
        raise ConfigError(f"semantic_loss_ignore_index is {shown(ignored)}; expected a whole number")
    if len(config.pool_scales) > _MOST_SCALES:
        raise ConfigError(f"pool_scales has {len(config.pool_scales)} entries; expected at most {_MOST_SCALES}")
    for scale in config.pool_scales:
        require_whole("pool_scales", scale, least=1, most=MOST["pool_scales"])
    if isinstance(config.hidden_act, str):
        if config.hidden_act not in ACTIVATIONS:
            raise ConfigError(
                f"hidden_act is {shown(config.hidden_act)}; expected one of {list(ACTIVATIONS)} or a callable"
            )
    elif not callable(config.hidden_act):
        raise ConfigError(
            f"hidden_act is {shown(config.hidden_act)}; expected one of {list(ACTIVATIONS)} or a callable"
        )
    if config.hidden_size % config.num_attention_heads:
        width, heads = config.hidden_size, config.num_attention_heads
        raise ConfigError(
            f"hidden_size {width} is not a multiple of num_attention_heads {heads}; "
            f"use {width // heads * heads or heads} or another number of heads"
        )
    _check_pruned(config)
    warn_of_unseen(config.image_hw, config.patch_hw)
    if config.out_indices_meaning not in OUT_INDICES_MEANINGS:
        raise ConfigError(
            f"out_indices_meaning is {shown(config.out_indices_meaning)}; expected one of {list(OUT_INDICES_MEANINGS)}"
        )
    if config.problem_type not in (None, *PROBLEM_TYPES):
        raise ConfigError(
            f"problem_type is {shown(config.problem_type)}; expected None or one of {list(PROBLEM_TYPES)}"
        )


def tapped_hidden_states(config: Any) -> tuple[int, ...]:
    """Return the hidden states that segmentation uses; 0 is the embeddings, i the output of layer i.

    "huggingface" reads `out_indices` [3, 5, 7, 11] as the hidden states [2, 4, 6, 10], "original" as the outputs of
    the layers 3, 5, 7 and 11 counted from 0, which are the hidden states [4, 6, 8, 12].

    Raises:
        ConfigError: If there are not four of them, one does not exist, or there are no classes.
    """
    if config.num_labels < 1:
        raise ConfigError(f"num_labels is {config.num_labels}; segmentation needs classes")
    shift = 1 if config.out_indices_meaning == "original" else -1
    taps = tuple(index + shift for index in config.out_indices)
    depth = config.num_hidden_layers
    if len(taps) != 4 or not all(0 <= tap <= depth for tap in taps):
        raise ConfigError(
            f"out_indices is {config.out_indices}; segmentation needs four layers, from {max(-shift, 0)} to "
            f"{depth - max(shift, 0)}, such as out_indices=[3, 5, 7, 11] for a base model"
        )
    return taps


def check_auxiliary_width(dim: int, channels: int, convs: int) -> None:
    """Refuse an auxiliary head without a convolution to change the number of channels.

    Raises:
        ConfigError: Naming both numbers.
    """
    if convs == 0 and dim != channels:
        raise ConfigError(
            f"auxiliary_num_convs is 0 and auxiliary_channels {channels} is not hidden_size {dim}; "
            "make them equal or use a convolution"
        )


def check_stages(config: Any) -> None:
    """Refuse stages of a backbone that are not there, since its number of layers was changed.

    Raises:
        ConfigError: Naming them, and those that are there.
    """
    if gone := [name for name in config.out_features if name not in config.stage_names]:
        raise ConfigError(
            f"out_features holds {shown(gone)}, and num_hidden_layers is {config.num_hidden_layers}; expected names of "
            f"{config.stage_names}: set out_features or out_indices after num_hidden_layers"
        )


def check_pyramid(config: Any) -> None:
    """Refuse a backbone's feature pyramid that is not made of four maps.

    Raises:
        ConfigError: Naming the stages.
    """
    if config.add_fpn and not (len(config.out_features) == 4 and config.reshape_hidden_states):
        raise ConfigError(
            f"add_fpn needs four out_features and reshape_hidden_states=True; there are "
            f"{config.out_features} and reshape_hidden_states={config.reshape_hidden_states}"
        )


def require_whole(name: str, value: Any, least: int, most: int = sys.maxsize) -> None:
    """Refuse what is no whole number within bounds.

    Raises:
        ConfigError: Naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        upper = f" and at most {most}" if most < sys.maxsize else ""
        raise ConfigError(f"{name} is {shown(value)}; expected a whole number of at least {least}{upper}")


def _require_number(name: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        upper = f"from {least:g} to {most:g}" if most < sys.float_info.max else f"of at least {least:g}, not infinite"
        raise ConfigError(f"{name} is {shown(value)}; expected a number {upper}")
