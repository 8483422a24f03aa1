"""Mean and standard deviation that a checkpoint was trained with, wherever it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from beit.catalog import public_checkpoint
from beit.config import CONFIG_NAME
from beit.errors import ConfigError
from beit.image import HALF, Preprocessing

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PREPROCESSOR = "preprocessor_config.json"


def checkpoint_statistics(checkpoint: str) -> Statistics | None:
    """Return (mean, std) per channel of the pictures that a checkpoint was trained on.

    They are those of the processor beside it; else of timm's config beside it; else of the published checkpoint by that
    name: BEiT was trained with 0.5, BEiT v2 with ImageNet's. None if nothing tells.
    """
    place = Path(checkpoint)
    folder = place.parent if place.is_file() else place
    if (folder / _PREPROCESSOR).is_file():
        view = Preprocessing.from_pretrained(folder)
        return view.mean, view.std
    if (folder / CONFIG_NAME).is_file() and (told := _timm_statistics(folder / CONFIG_NAME)) is not None:
        return told
    public = public_checkpoint(place.name if place.exists() else checkpoint)
    if public is not None:
        return IMAGENET if public.original.startswith("beitv2") else (HALF, HALF)
    if place.exists():
        return None
    try:
        view = Preprocessing.from_pretrained(checkpoint)
    except ConfigError:
        return None
    return view.mean, view.std


def _timm_statistics(path: Path) -> Statistics | None:
    try:
        options: Any = json.loads(path.read_text(encoding="utf-8"))
        told = options["pretrained_cfg"]
        mean, std = (tuple(float(value) for value in told[name]) for name in ("mean", "std"))
    except (KeyError, TypeError, ValueError):  # not one of timm's
        return None
    return (mean, std) if len(mean) == len(std) == 3 else None
