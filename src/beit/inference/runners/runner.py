"""Interface of runners: a torch model or an exported file behind a predictor.

Legend: B batch, C channels, D hidden, K classes, H x W pixels, h x w places of a map.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from beit.config import BeitConfig

Floats = NDArray[np.float32]
TaskName = str  # of the registry of predictor tasks, such as "classify"


@runtime_checkable
class Runner(Protocol):
    """Pixels to a model's outputs.

    Attributes:
        config: The model's options.
        task: The task that the outputs belong to: "classify", "segment" or "embed".
        image_hw: Size of the pictures, (height, width) in pixels.
    """

    config: BeitConfig
    task: TaskName
    image_hw: tuple[int, int]

    def __call__(self, pixels_BCHW: Floats) -> Floats:
        """Return logits (B, K), scores (B, K, h, w) of a map, or embeddings (B, D) of normalised pixels."""
        ...
