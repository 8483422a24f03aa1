"""Evaluation preprocessing in timm's config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from beit.errors import ConfigError
from beit.files import read_json
from beit.image.preprocessing import Preprocessing

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # (mean, standard deviation) per channel


def timm_options(config: Path) -> Mapping[str, Any]:
    """Return the `pretrained_cfg` of a `config.json`; empty if there is none, or it is not one of timm's.

    Raises:
        ConfigError: If it is damaged.
    """
    options = read_json(config, "the config.json of a BEiT").get("pretrained_cfg") if config.is_file() else None
    return options if isinstance(options, Mapping) else {}


def timm_statistics(options: Mapping[str, Any]) -> Statistics | None:
    """Return (mean, std) per channel, or None if the options do not hold them."""
    try:
        mean, std = (tuple(float(value) for value in options[name]) for name in ("mean", "std"))
    except (KeyError, TypeError, ValueError):
        return None
    return (mean, std) if len(mean) == len(std) == 3 else None


def timm_view(options: Mapping[str, Any], image_hw: tuple[int, int], statistics: Statistics) -> Preprocessing | None:
    """Return the preprocessing of timm's validation, or None if the options do not hold the crop.

    Args:
        options: `pretrained_cfg`.
        image_hw: Size of the model's input, (height, width).
        statistics: Mean and standard deviation.

    Raises:
        ConfigError: If an option has an unknown value.
    """
    share: Any = options.get("crop_pct")
    if share is None:
        return None
    mode, filter_name = options.get("crop_mode") or "center", str(options.get("interpolation") or "bicubic")
    wrong = None
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        wrong = f"crop_pct is {share!r}; expected a number above 0, at most 1"
    elif mode not in ("center", "squash"):
        wrong = f"crop_mode is {mode!r}; expected center or squash"
    elif filter_name.upper() not in Image.Resampling.__members__:
        wrong = f"interpolation is {filter_name!r}; expected bicubic, bilinear or another filter of Pillow"
    if wrong is not None:
        raise ConfigError(f"pretrained_cfg of the model's config.json: {wrong}. Correct it, or set crop_share")
    # timm rounds down: 0.9 of 248 pixels for 224, not of 249
    height, width = (math.floor(side / share) for side in image_hw)
    mean, std = statistics
    resize = (height, width) if mode == "squash" else max(height, width)
    return Preprocessing(image_hw, resize, mean, std, Image.Resampling[filter_name.upper()])


def timm_crop(view: Preprocessing) -> dict[str, Any]:
    """Return the options of a `pretrained_cfg` by which `timm_view` makes a preprocessing; empty if none do."""
    squashes = isinstance(view.resize, tuple)
    resized = view.resize[0] if isinstance(view.resize, tuple) else view.resize
    side = view.image_hw[0] if squashes else max(view.image_hw)
    plain = replace(view, value_range=None, frame=None)  # which timm does not know
    for share in (round(side / resized, 6), side / (resized + 0.5)):  # the first may be rounded down to a pixel less
        mode, name = "squash" if squashes else "center", view.resample.name.lower()
        options = {"crop_pct": share, "crop_mode": mode, "interpolation": name}
        if share <= 1 and timm_view(options, view.image_hw, (view.mean, view.std)) == plain:
            return options
    return {}
