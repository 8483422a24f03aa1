"""Class weights of the segmentation loss.

Legend: K classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from beit.errors import ConfigError
from beit.settings.segment import SegmentJob
from beit.tasks.segment.pixel_counts import PixelCounts


def check_weights(job: SegmentJob, classes: int) -> None:
    """Refuse weights for other classes.

    Raises:
        ConfigError: Naming them.
    """
    weights = job.class_weights
    if isinstance(weights, tuple) and (len(weights) != classes or min(weights) < 0):
        raise ConfigError(
            f"class_weights has {len(weights)} numbers, {list(weights[:5])}; expected one for each of the {classes} "
            "classes, none below 0"
        )


def class_weights(job: SegmentJob, counts: PixelCounts | None) -> Tensor | None:
    """Return the factors (K,) on the loss of each class, or None for none; balanced ones are 1 for the mean pixel."""
    if job.class_weights is None:
        return None
    if job.class_weights != "balanced":
        return torch.tensor(job.class_weights)
    if counts is None:
        return None
    pixels_K = counts.pixels_K.astype(np.float64)
    weights_K = np.where(pixels_K > 0, 1 / np.sqrt(np.maximum(pixels_K, 1)), 0)
    return torch.from_numpy(weights_K * pixels_K.sum() / (weights_K * pixels_K).sum()).float()
