"""Scores of predicted label maps against the true ones: IoU, pixel accuracy, boundary F1.

Legend: K classes, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, hypot

import torch
from torch import Tensor
from torch.nn import functional

from beit.image import IGNORED

TOLERANCE = 0.0075  # of a picture's diagonal: how far an outline may be off


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


def boundary_f1(predicted_HW: Tensor, true_HW: Tensor, classes: int) -> Tensor:
    """Return the F1 of each class's outline (K,), float64; nan for a class that has none in either map.

    A pixel is on the outline of its class if one of the four beside it is of another, or IGNORED in the true map; it is
    right if the other map has one of that class's outline within a square that reaches TOLERANCE of the diagonal to
    each side. Pixels that are IGNORED are no part of either, so a border to them is found by who finds its class.

    Source: Csurka et al., "What is a good evaluation measure for semantic segmentation?" (BMVC 2013), with the
    tolerance of its section 3; a square in place of its disc.
    """
    ignored_HW = true_HW == IGNORED
    reach = max(1, ceil(TOLERANCE * hypot(*true_HW.shape)))
    found_K = torch.full((classes,), float("nan"), dtype=torch.float64)
    edges = [_edges(labels_HW.masked_fill(ignored_HW, IGNORED)) & ~ignored_HW for labels_HW in (predicted_HW, true_HW)]
    for index in range(classes):
        predicted, true = (
            (labels == index) & edge for labels, edge in zip((predicted_HW, true_HW), edges, strict=True)
        )
        if predicted.any() or true.any():
            precision, recall = _share_near(predicted, true, reach), _share_near(true, predicted, reach)
            found_K[index] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return found_K


def _edges(labels_HW: Tensor) -> Tensor:
    """Return the mask of the pixels that have a neighbour above, below, left or right of another class."""
    edges_HW = torch.zeros_like(labels_HW, dtype=torch.bool)
    down, across = labels_HW[1:] != labels_HW[:-1], labels_HW[:, 1:] != labels_HW[:, :-1]
    edges_HW[1:] |= down
    edges_HW[:-1] |= down
    edges_HW[:, 1:] |= across
    edges_HW[:, :-1] |= across
    return edges_HW


def _share_near(some_HW: Tensor, others_HW: Tensor, reach: int) -> float:
    """Return the share of some pixels that have one of the others near them; 0 if there are none."""
    near_HW = functional.max_pool2d(others_HW[None].float(), 2 * reach + 1, 1, reach)[0] > 0
    return float((some_HW & near_HW).sum() / some_HW.sum().clamp(min=1))
