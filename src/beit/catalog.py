"""Named sizes of BEiT."""

from __future__ import annotations

from typing import Any

from beit.config import BeitConfig
from beit.errors import ConfigError

# base and large: arXiv 2106.08254, section 2.5; tiny and small: the widths of DeiT (arXiv 2012.12877, table 1).
# Layer scale: 0.1 for base, 1e-5 for large (section 3.1).
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768},
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "layer_scale_init_value": 1e-5,
    },
}

# What the published pre-training runs use, where the documented defaults of BeitConfig differ: a shared relative
# position bias (the defaults have no position information), a mask token, and the original epsilon.
PRETRAINING: dict[str, Any] = {
    "use_mask_token": True,
    "use_shared_relative_position_bias": True,
    "layer_norm_eps": 1e-6,
}


def preset(size: str, **overrides: Any) -> BeitConfig:
    """Return the config of a named size, set up for pre-training.

    Args:
        size: "tiny", "small", "base" or "large".
        **overrides: Any option of `BeitConfig`, which wins over the preset.

    Raises:
        ConfigError: If there is no such size.
    """
    if size not in SIZES:
        raise ConfigError(f"there is no model size {size!r}; expected one of {list(SIZES)}")
    return BeitConfig(**{**SIZES[size], **PRETRAINING, **overrides})
