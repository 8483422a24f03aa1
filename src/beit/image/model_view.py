"""Preprocessing of a model, from what lies beside its weights.

For evaluation it is the model's own, else that of timm's config or of the published evaluation.
"""

from __future__ import annotations

from pathlib import Path

from beit.catalog import public_checkpoint
from beit.config import CONFIG_NAME
from beit.hub import HubOptions, file_beside, is_local
from beit.image.preprocessing import Preprocessing
from beit.image.processor import PREPROCESSOR_NAME
from beit.image.steps import HALF
from beit.image.timm_view import Statistics, timm_options, timm_statistics, timm_view

# Source: the evaluation of microsoft/unilm (beit/datasets.py): 256 for 224, the whole picture from 384 pixels.
_SMALL_CROP, _FROM_SIDE = 0.875, 384
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


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
    """Return the preprocessing that is saved beside a model, on this machine or the hub; None where there is none.

    For a published name the hub is not asked: such models see colours of 8 bits.

    Raises:
        ConfigError: If it is not understood.
        CheckpointError: If the hub cannot be reached.
    """
    is_asked = is_local(model) or public_checkpoint(str(model)) is None
    file = preprocessor_file(model) if is_asked else None
    return None if file is None else Preprocessing.from_pretrained(file)


def model_file(model: str | Path, name: str, hub: HubOptions | None = None) -> Path | None:
    """Return a file beside the weights of a model; None if there is none.

    Args:
        model: A folder, a file of weights, or a name on the hub, of the package or of a published checkpoint.
        name: Name of the file.
        hub: How the hub is used.

    Raises:
        CheckpointError: If the hub cannot be reached.
    """
    public = None if Path(model).exists() else public_checkpoint(str(model))
    place = model if public is None else public.hub
    return None if place is None else file_beside(place, name, hub or HubOptions())


def preprocessor_file(model: str | Path, hub: HubOptions | None = None) -> Path | None:
    """Return the `preprocessor_config.json` of a model; without a config, the one beside a file is of something else.

    Args:
        model: As for `model_file`.
        hub: How the hub is used.

    Raises:
        CheckpointError: If the hub cannot be reached.
    """
    if Path(model).is_file() and model_file(model, CONFIG_NAME) is None:
        return None
    return model_file(model, PREPROCESSOR_NAME, hub)


def checkpoint_statistics(checkpoint: str, hub: HubOptions | None = None) -> Statistics | None:
    """Return (mean, std) per channel of the pictures that a checkpoint was trained on.

    They are those of the processor beside it; else of timm's config beside it; else of the published checkpoint by that
    name: BEiT was trained with 0.5, BEiT v2 with ImageNet's. None if none of these has them. For a published name the
    hub is not asked.

    Args:
        checkpoint: A folder, a file of weights, or a name.
        hub: How the hub is used.

    Raises:
        ConfigError: If what lies beside it is not understood.
        CheckpointError: If the hub cannot be reached.
    """
    place = Path(checkpoint)
    public = public_checkpoint(place.name if place.exists() else checkpoint)
    if public is None or is_local(checkpoint):
        found = _beside(checkpoint, hub)
        if found is not None or public is None:
            return found
    return IMAGENET if public.original.startswith("beitv2") else (HALF, HALF)


def _beside(checkpoint: str, hub: HubOptions | None) -> Statistics | None:
    """Return what the processor beside a checkpoint says, or timm's config there."""
    if (file := preprocessor_file(checkpoint, hub)) is not None:
        view = Preprocessing.from_pretrained(file)
        return view.mean, view.std
    config = model_file(checkpoint, CONFIG_NAME, hub)
    return None if config is None else timm_statistics(timm_options(config))
