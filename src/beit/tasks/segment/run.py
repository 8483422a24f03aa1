"""A segmentation model with its objective, for the loop: how it is trained, saved and continued.

Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from beit.engine.optimiser import parameter_groups
from beit.image import IGNORED
from beit.settings.segment import SegmentJob
from beit.tasks.segment.loss import SegmentObjective
from beit.tasks.segment.start import SegmentationStart


class SegmentRun:
    """What the loop trains.

    Args:
        start: The model, and how it is shown pictures.
        job: The settings.
        class_weights: (K,) factors on the loss of each class, or None.
    """

    def __init__(self, start: SegmentationStart, job: SegmentJob, class_weights: Tensor | None = None) -> None:
        self.model = start.model
        self._view, self._how = start.view, start.how
        self.module = SegmentObjective(self.model, class_weights, job.hard_pixels)
        layers = self.model.config.num_hidden_layers
        self.groups = parameter_groups(self.model, job.optim.weight_decay, job.optim.layer_decay, layers)

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return pictures and labels."""
        return tensors

    def weight(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of pixels that have a class."""
        return (tensors["labels"] != IGNORED).sum().clamp(min=1).float()

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another such as its moving average, into a folder, and how it is shown pictures."""
        (model or self.model).save_pretrained(folder)
        self._view.save_pretrained(folder)
        self._how.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Fill the model from a folder."""
        self.model.load_weights(folder, strict=True)
