"""Boundary F1: agreement of the outlines of predicted and true classes.

Legend: K classes, H x W pixels.
"""

from __future__ import annotations

from math import ceil, hypot

import torch
from torch import Tensor
from torch.nn import functional

from beit.image import IGNORED

TOLERANCE = 0.0075  # of a picture's diagonal: how far an outline may be off


def boundary_f1(predicted_HW: Tensor, true_HW: Tensor, classes: int) -> Tensor:
    """Return the F1 of each class's outline (K,), float64; nan for a class that has none in either map.

    A pixel is on the outline of its class if one of the four beside it is of another; it is right if the other map has
    one of that class's outline within a square that reaches TOLERANCE of the diagonal to each side. Pixels that are
    IGNORED in the true map are no part of either.

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
