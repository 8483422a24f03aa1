"""Preprocessing for evaluation: the model's own, else that of timm's config or of the published evaluation."""

from __future__ import annotations

from pathlib import Path

from beit.config import CONFIG_NAME
from beit.hub import HubOptions, is_local
from beit.image.model_files import model_file, preprocessor_file
from beit.image.preprocessing import Preprocessing
from beit.image.processor import PREPROCESSOR_NAME
from beit.image.statistics import checkpoint_statistics
from beit.image.steps import HALF
from beit.image.timm_view import timm_options, timm_statistics, timm_view

# Source: the evaluation of microsoft/unilm (beit/datasets.py): 256 for 224, the whole picture from 384 pixels.
_SMALL_CROP, _FROM_SIDE = 0.875, 384


def published_crop(image_hw: tuple[int, int]) -> float:
    """Return the crop's share of the picture's shorter side that the published results were measured with."""
    return 1.0 if max(image_hw) >= _FROM_SIDE else _SMALL_CROP


def evaluation_view(
    model: str, image_hw: tuple[int, int], crop_share: float | None = None, hub: HubOptions | None = None
) -> tuple[Preprocessing, str]:
    """Return the preprocessing, and its origin in words.

    Without a preprocessor, mean and deviation are timm's, or those of the published checkpoint by that name, else 0.5.

    Args:
        model: A folder, a file, or a name on the hub.
        image_hw: Size of the model's input, (height, width).
        crop_share: Keep the picture's shape and crop this share of its shorter side, bicubic, whatever the model's
            preprocessor says; its mean and standard deviation still hold.
        hub: How the hub is used.

    Raises:
        ConfigError: If the model's preprocessor, or its timm config, is not understood.
        CheckpointError: If the hub cannot be reached.
    """
    file = preprocessor_file(model, hub)
    own = Preprocessing.from_pretrained(file) if file is not None else None
    if own is not None:
        if crop_share is None:
            return own, f"the model's {PREPROCESSOR_NAME}"
        return Preprocessing.cropping(image_hw, crop_share, mean=own.mean, std=own.std), "crop_share"
    config = model_file(model, CONFIG_NAME, hub)
    timm = timm_options(config) if config is not None else {}
    mean, std = timm_statistics(timm) or checkpoint_statistics(model, hub) or (HALF, HALF)
    if crop_share is not None:
        return Preprocessing.cropping(image_hw, crop_share, mean=mean, std=std), "crop_share"
    if (view := timm_view(timm, image_hw, (mean, std))) is not None:
        return view, f"the model's {CONFIG_NAME} (timm)"
    share = published_crop(image_hw)
    return Preprocessing.cropping(image_hw, share, mean=mean, std=std), "the published evaluation"


def saved_view(model: str | Path) -> Preprocessing | None:
    """Return the preprocessing that is saved beside a model on this machine; None where there is none.

    Raises:
        ConfigError: If it is not understood.
    """
    file = preprocessor_file(model) if is_local(model) else None
    return None if file is None else Preprocessing.from_pretrained(file)
