"""Mean and standard deviation of the pictures that a checkpoint was trained on."""

from __future__ import annotations

from pathlib import Path

from beit.catalog import public_checkpoint
from beit.config import CONFIG_NAME
from beit.errors import ConfigError
from beit.image.preprocessing import Preprocessing
from beit.image.processor import PREPROCESSOR_NAME
from beit.image.steps import HALF
from beit.image.timm_view import Statistics, timm_options, timm_statistics

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def checkpoint_statistics(checkpoint: str) -> Statistics | None:
    """Return (mean, std) per channel of the pictures that a checkpoint was trained on.

    They are those of the processor beside it; else of timm's config beside it; else of the published checkpoint by that
    name: BEiT was trained with 0.5, BEiT v2 with ImageNet's. None if none of these has them.
    """
    place = Path(checkpoint)
    folder = place.parent if place.is_file() else place
    if (folder / PREPROCESSOR_NAME).is_file():
        view = Preprocessing.from_pretrained(folder)
        return view.mean, view.std
    if (config := folder / CONFIG_NAME).is_file() and (found := timm_statistics(timm_options(config))) is not None:
        return found
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
