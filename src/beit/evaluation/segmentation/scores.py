"""Scores of predicted label maps against the true ones: IoU, pixel accuracy, boundary F1.

Legend: K classes, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from beit.evaluation.segmentation.boundary import boundary_f1
from beit.image import IGNORED


@dataclass
class SegmentationScores:
    """Counts over pictures, and the scores that follow from them.

    Attributes:
        classes: Number of classes K.
        confusion_KK: Pixels by true class (rows) and predicted class (columns), int64.
        outlines_K2: F1 of each class's outline, summed over the pictures that have one, and how many these are.
        pictures: How many.
    """

    classes: int
    confusion_KK: Tensor = field(init=False)
    outlines_K2: Tensor = field(init=False)
    pictures: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Begin with nothing counted."""
        self.confusion_KK = torch.zeros(self.classes, self.classes, dtype=torch.int64)
        self.outlines_K2 = torch.zeros(self.classes, 2, dtype=torch.float64)

    def add(self, predicted_HW: Tensor, true_HW: Tensor) -> None:
        """Count a picture; pixels whose true class is IGNORED are left out."""
        from torchmetrics.functional.classification import multiclass_confusion_matrix  # brings scipy: seconds

        predicted_HW, true_HW = predicted_HW.cpu().long(), true_HW.cpu().long()
        self.confusion_KK += multiclass_confusion_matrix(
            predicted_HW, true_HW, num_classes=self.classes, ignore_index=IGNORED
        )
        f1_K = boundary_f1(predicted_HW, true_HW, self.classes)
        self.outlines_K2 += torch.stack((f1_K.nan_to_num(0.0), (~f1_K.isnan()).double()), dim=1)
        self.pictures += 1

    def join(self, other: SegmentationScores) -> None:
        """Add what was counted elsewhere, of other pictures."""
        self.confusion_KK += other.confusion_KK
        self.outlines_K2 += other.outlines_K2
        self.pictures += other.pictures

    @property
    def pixels(self) -> Tensor:
        """True pixels of each class (K,)."""
        return self.confusion_KK.sum(dim=1)

    @property
    def iou(self) -> Tensor:
        """Intersection over union of each class (K,), in [0, 1]; nan for one that is neither there nor predicted."""
        right_K = self.confusion_KK.diagonal().double()
        return right_K / (self.confusion_KK.sum(dim=0) + self.confusion_KK.sum(dim=1) - right_K)

    @property
    def accuracy(self) -> Tensor:
        """Share of the pixels of each class that are predicted right (K,); nan for one without pixels."""
        return self.confusion_KK.diagonal().double() / self.pixels

    @property
    def boundary_f1(self) -> Tensor:
        """Mean over pictures of the F1 of each class's outline (K,); nan for one without."""
        return self.outlines_K2[:, 0] / self.outlines_K2[:, 1]

    def numbers(self) -> dict[str, float]:
        """Return the means over classes, and the share of all pixels that are right."""
        right, pixels = self.confusion_KK.diagonal().sum(), self.confusion_KK.sum()
        return {
            "mean_iou": float(self.iou.nanmean()),
            "mean_accuracy": float(self.accuracy.nanmean()),
            "pixel_accuracy": float(right / pixels),
            "boundary_f1": float(self.boundary_f1.nanmean()),
            "pictures": self.pictures,
        }
