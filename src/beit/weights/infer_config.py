"""Model options inferred from tensor shapes: original and timm checkpoints come without a config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from beit.catalog import SIZES
from beit.errors import CheckpointError

Shape = tuple[int, ...]
_LAYER = r"beit\.encoder\.layer\.(\d+)\."
_TABLE = "relative_position_bias.relative_position_bias_table"
_CLASSIFIERS = ("classifier.weight", "decode_head.classifier.weight")
# The blocks that the original segmentation reads, by depth; counted from 0.
_SEGMENTATION_BLOCKS = {12: [3, 5, 7, 11], 24: [7, 11, 15, 23]}


def inferred_options(
    source: str, shapes: Mapping[str, Shape], hints: Mapping[str, Any], known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the options of a model with these tensors.

    Args:
        source: The checkpoint, for messages.
        shapes: Shapes by canonical name, the encoder under "beit.".
        hints: Options that the checkpoint states elsewhere; they win.
        known: Options that the caller knows; they help where all else leaves one open.

    Raises:
        CheckpointError: If an option cannot be inferred from the tensors; the message names it.
    """
    known = known or {}
    if "num_attention_heads" in known:
        hints = {"num_attention_heads": known["num_attention_heads"], **hints}
    classes = next((shapes[name][0] for name in _CLASSIFIERS if name in shapes), 0)
    if "id2label" in hints and len(hints["id2label"]) != classes:
        hints = {name: value for name, value in hints.items() if name != "id2label"}
    try:
        options = _options(source, shapes, hints)
    except CheckpointError:
        if "image_size" not in known:
            raise
        # a grid that is not square: it has the size that was asked for
        options = _options(source, shapes, {**hints, "image_size": known["image_size"]})
    if "id2label" in options:
        options.pop("num_labels", None)
    return options


def _options(source: str, shapes: Mapping[str, Shape], hints: Mapping[str, Any]) -> dict[str, Any]:
    patch = shapes.get("beit.embeddings.patch_embeddings.projection.weight")
    if patch is None or len(patch) != 4:
        raise CheckpointError(f"{source} holds no patch embedding; it is not a BEiT")
    hidden, channels, patch_height, patch_width = patch
    layers = {int(match[1]) for name in shapes if (match := re.match(_LAYER, name))}
    expand = shapes.get("beit.encoder.layer.0.intermediate.dense.weight")
    if not layers or expand is None:
        raise CheckpointError(f"{source} holds no encoder layers; it is not a BEiT")
    tables = {
        "use_shared_relative_position_bias": shapes.get(f"beit.encoder.{_TABLE}"),
        "use_relative_position_bias": shapes.get(f"beit.encoder.layer.0.attention.attention.{_TABLE}"),
    }
    table = next((shape for shape in tables.values() if shape is not None), None)
    options: dict[str, Any] = {
        "hidden_size": hidden,
        "num_hidden_layers": max(layers) + 1,
        "intermediate_size": expand[0],
        "num_channels": channels,
        "patch_size": patch_height if patch_height == patch_width else [patch_height, patch_width],
        "use_mask_token": "beit.embeddings.mask_token" in shapes,
        "use_absolute_position_embeddings": "beit.embeddings.position_embeddings" in shapes,
        **{name: shape is not None for name, shape in tables.items()},
        "use_mean_pooling": "beit.layernorm.weight" not in shapes,
        "layer_norm_eps": 1e-6,  # of the original code, which timm took over
        "layer_scale_init_value": _layer_scale(hidden, "beit.encoder.layer.0.lambda_1" in shapes),
        **_head_options(shapes, max(layers) + 1),
    }
    options |= hints
    if "num_attention_heads" not in options:
        options["num_attention_heads"] = table[1] if table is not None else _heads_of_size(source, hidden)
    if "image_size" not in options:
        side = _grid_side(source, table, shapes.get("beit.embeddings.position_embeddings"))
        height, width = side * patch_height, side * patch_width
        options["image_size"] = height if height == width else [height, width]
    return options


def _layer_scale(hidden: int, present: bool) -> float:
    """Return the published initial value; loaded weights do not depend on it."""
    return 0.0 if not present else 1e-5 if hidden >= SIZES["large"]["hidden_size"] else 0.1


def _head_options(shapes: Mapping[str, Shape], depth: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if (codebook := shapes.get("lm_head.weight")) is not None:
        options["vocab_size"] = codebook[0]
    for name in _CLASSIFIERS:
        if name in shapes:
            options["num_labels"] = shapes[name][0]
    if "decode_head.classifier.weight" not in shapes:
        return options
    options["out_indices_meaning"] = "original"
    if depth in _SEGMENTATION_BLOCKS:
        options["out_indices"] = _SEGMENTATION_BLOCKS[depth]
    auxiliary = shapes.get("auxiliary_head.classifier.weight")
    options["use_auxiliary_head"] = auxiliary is not None
    if auxiliary is not None:
        options["auxiliary_channels"] = auxiliary[1]
        options["auxiliary_num_convs"] = sum(
            re.fullmatch(r"auxiliary_head\.convs\.\d+\.conv\.weight", name) is not None for name in shapes
        )
        options["auxiliary_concat_input"] = "auxiliary_head.conv_cat.conv.weight" in shapes
    return options


def _heads_of_size(source: str, hidden: int) -> int:
    for size in SIZES.values():
        if size["hidden_size"] == hidden:
            return size["num_attention_heads"]
    raise CheckpointError(
        f"{source} shows no number of attention heads; hidden_size is {hidden}; pass num_attention_heads=..."
    )


def _grid_side(source: str, table: Shape | None, positions: Shape | None) -> int:
    """Return the side of a square patch grid."""
    if positions is not None:
        side = isqrt(positions[1] - 1)
        if side * side == positions[1] - 1:
            return side
    elif table is not None:
        offsets = isqrt(max(table[0] - 3, 0))
        if offsets * offsets == table[0] - 3 and offsets % 2:
            return (offsets + 1) // 2
    raise CheckpointError(f"{source} shows no square patch grid; pass image_size=224 or image_size=(height, width)")
