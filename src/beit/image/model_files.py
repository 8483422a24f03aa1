"""Files with preprocessing options beside a model, by any of its names."""

from __future__ import annotations

from pathlib import Path

from beit.catalog import public_checkpoint
from beit.config import CONFIG_NAME
from beit.hub import HubOptions, file_beside
from beit.image.processor import PREPROCESSOR_NAME


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
