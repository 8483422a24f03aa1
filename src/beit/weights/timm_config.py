"""Reading and writing of the `config.json` of timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

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
    names = found.get("label_names") or pretrained.get("label_names")
    if isinstance(names, list) and all(isinstance(name, str) for name in cast("list[Any]", names)):
        hints["id2label"] = dict(enumerate(cast("list[str]", names)))
    return hints


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def timm_config(config: BeitConfig, seen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the `config.json` that timm's `load_model_config_from_hf` reads.

    Args:
        config: The model.
        seen: How it is shown pictures, under the names of timm's `pretrained_cfg`: `mean` and `std` (one number per
            channel), `interpolation`, `crop_pct`, `crop_mode`; what is left out is as of BEiT.

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
    names = config.class_names if classes else []
    named = any(name != f"LABEL_{index}" for index, name in enumerate(names))
    return {
        "architecture": _REGISTERED.get((config.hidden_size, height), "beit_base_patch16_224"),
        "num_classes": classes,
        **({"label_names": names} if named else {}),
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
            "mean": half,
            "std": half,
            **(seen or {}),
            "num_classes": classes,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
