"""Mean and standard deviation of the pictures that a checkpoint was trained on."""

from __future__ import annotations

from pathlib import Path

from beit.catalog import public_checkpoint
from beit.config import CONFIG_NAME
from beit.hub import HubOptions, is_local
from beit.image.model_files import model_file, preprocessor_file
from beit.image.preprocessing import Preprocessing
from beit.image.steps import HALF
from beit.image.timm_view import Statistics, timm_options, timm_statistics

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


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
