"""Evaluation preprocessing in timm's config, read and written."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def options_for_timm(view: Preprocessing) -> dict[str, Any]:
    """Return what `pretrained_cfg` says of a preprocessing, without the crop where timm has none like it."""
    if isinstance(view.resize, tuple):
        shares = {_crop_share(*sides) for sides in zip(view.image_hw, view.resize, strict=True)}
        mode, share = "squash", shares.pop() if len(shares) == 1 else None  # timm has one for both sides
    else:
        mode, share = "center", _crop_share(max(view.image_hw), view.resize)
    crop = {} if share is None else {"crop_pct": share, "crop_mode": mode}
    statistics = {"mean": list(view.mean), "std": list(view.std)}
    return {"interpolation": view.resample.name.lower(), **crop, **statistics}


def _crop_share(side: int, resized: int) -> float | None:
    """Return a share of which timm makes this resized side, with as few digits as there can be; None of a padding."""
    if resized < side:
        return None
    exact, middle = side / resized, side / (resized + 0.5)
    shares = (round(share, digits) for digits in range(1, 7) for share in (exact, middle))
    return next((share for share in shares if 0 < share <= 1 and math.floor(side / share) == resized), middle)
