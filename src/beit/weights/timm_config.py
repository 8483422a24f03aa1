"""Reading and writing of the `config.json` of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beit.config import BeitConfig
from beit.errors import ConfigError

# Registered models of timm, whose other options `model_args` then overrides.
_REGISTERED = {
    (768, 224): "beit_base_patch16_224",
    (768, 384): "beit_base_patch16_384",
    (1024, 224): "beit_large_patch16_224",
    (1024, 384): "beit_large_patch16_384",
    (1024, 512): "beit_large_patch16_512",
}


def timm_hints(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options in a timm config that cannot be inferred from tensors."""
    if found is None or "architecture" not in found:
        return {}
    arguments, pretrained = (_mapping(found.get(name)) for name in ("model_args", "pretrained_cfg"))
    size = arguments.get("img_size") or pretrained.get("input_size")
    if isinstance(size, list):
        size = size[-2:]  # input_size begins with the channels
    hints: dict[str, Any] = {}
    if isinstance(size, int):
        hints["image_size"] = size
    elif isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):
        hints["image_size"] = size[0] if size[0] == size[1] else size
    if isinstance(arguments.get("num_heads"), int):
        hints["num_attention_heads"] = arguments["num_heads"]
    return hints


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def timm_config(
    config: BeitConfig,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    crop: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the `config.json` that timm's `load_model_config_from_hf` reads.

    Args:
        config: The model.
        mean: Of the pictures that it has learnt from, one number per channel; None: 0.5, as of BEiT.
        std: Their standard deviation.
        crop: How much of a picture is seen, in timm's names; None: what it takes by default.

    Raises:
        ConfigError: If the model has an option that timm's BEiT does not have.
    """
    if config.hidden_act != "gelu":
        raise ConfigError(f"hidden_act is {config.hidden_act!r}; timm's BEiT has gelu only, use another layout")
    height, width = config.image_hw
    pool = "avg" if config.use_mean_pooling else "token"
    classes = config.num_labels if config.architectures == ["BeitForImageClassification"] else 0
    patch_height, patch_width = config.patch_hw
    half = [0.5] * config.num_channels
    return {
        "architecture": _REGISTERED.get((config.hidden_size, height), "beit_base_patch16_224"),
        "num_classes": classes,
        "num_features": config.hidden_size,
        "global_pool": pool,
        "model_args": {
            "img_size": [height, width],
            "patch_size": patch_height if patch_height == patch_width else [patch_height, patch_width],
            "embed_dim": config.hidden_size,
            "depth": config.num_hidden_layers,
            "num_heads": config.num_attention_heads,
            "mlp_ratio": config.intermediate_size / config.hidden_size,
            "num_classes": classes,
            "in_chans": config.num_channels,
            "global_pool": pool,
            "init_values": config.layer_scale_init_value or None,
            "use_abs_pos_emb": config.use_absolute_position_embeddings,
            "use_rel_pos_bias": config.use_relative_position_bias,
            "use_shared_rel_pos_bias": config.use_shared_relative_position_bias,
        },
        "pretrained_cfg": {
            "input_size": [config.num_channels, height, width],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "mean": list(mean or half),
            "std": list(std or half),
            "num_classes": classes,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            **(crop or {}),
        },
    }
