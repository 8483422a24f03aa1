"""Checks of the settings of a segmentation, before any label map is read."""

from __future__ import annotations

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.geometry import patch_grid
from beit.settings.groups import TrainSettings


def check_batch_norms(train: TrainSettings, config: BeitConfig, world: int, shared: bool) -> None:
    """Refuse batches of which one picture at a time goes through a batch norm that sees it as one pixel.

    The pool of scale 1 makes one pixel of a picture, whose deviation from itself is nothing.

    Args:
        train: Length and batches.
        config: The model.
        world: Processes that share a batch.
        shared: Whether the batch norms see the pictures of all processes.

    Raises:
        ConfigError: Naming what to change.
    """
    at_once = train.batch_size // world // train.accumulate * (world if shared else 1)
    height, width = patch_grid(config.image_size, config.patch_size)
    coarse = max(1, height // 2) * max(1, width // 2)  # patches of the coarsest map
    if at_once > 1 or min(coarse, *(scale * scale for scale in config.pool_scales)) > 1:
        return
    raise ConfigError(
        f"train.batch_size {train.batch_size} in train.accumulate {train.accumulate} parts, over {world} processes, is "
        "one picture at a time, and the batch norms of UperNet need two: raise train.batch_size to "
        f"{2 * world * train.accumulate}, or lower train.accumulate; train.recompute saves memory too"
    )
