"""Mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899) of neighbours in the order of a run.

Mode and share are drawn once for a whole batch, as timm's mode "batch" does, from (seed, step). The partner of a
picture is its neighbour in the batch: pictures 0 and 1, 2 and 3, ... are mixed with each other. `BatchOrder` deals such
pairs to one process, so that what is mixed with what depends on the order alone.

Legend: B batch, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

PAIR = 2  # neighbours that have to be on one process


@dataclass(frozen=True)
class Mix:
    """Mixing of the pictures of one batch, as it was drawn.

    Attributes:
        share: What a picture keeps of itself, in the target as in the pixels.
        box: What it gets from its partner with cutmix, (top, left, bottom, right) in pixels; None is mixup.
    """

    share: float
    box: tuple[int, int, int, int] | None = None

    def pictures(self, pixels_BCHW: Tensor) -> Tensor:
        """Return pictures (B, C, H, W), each mixed with its neighbour."""
        if self.share == 1:
            return pixels_BCHW
        others_BCHW = neighbours(pixels_BCHW)
        if self.box is None:
            return pixels_BCHW * self.share + others_BCHW * (1 - self.share)
        top, left, bottom, right = self.box
        mixed_BCHW = pixels_BCHW.clone()
        mixed_BCHW[:, :, top:bottom, left:right] = others_BCHW[:, :, top:bottom, left:right]
        return mixed_BCHW

    def targets(self, targets_BK: Tensor) -> Tensor:
        """Return targets (B, K), mixed alike."""
        return targets_BK if self.share == 1 else targets_BK * self.share + neighbours(targets_BK) * (1 - self.share)


@dataclass(frozen=True)
class Mixing:
    """Strength of mixup and cutmix.

    Attributes:
        mixup: Alpha of mixup's Beta(alpha, alpha), from which the share is drawn; 0 for no mixup.
        cutmix: The same for cutmix.
        probability: Of mixing a batch at all.
        switch: Probability of cutmix rather than mixup, if there are both.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    probability: float = 1.0
    switch: float = 0.5

    @property
    def active(self) -> bool:
        """Return whether anything is ever mixed."""
        return self.probability > 0 and (self.mixup > 0 or self.cutmix > 0)

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Mix:
        """Return a random mix of a batch of such pictures.

        Drawn in this order: if at all, cutmix or mixup, the share, and with cutmix the centre of the box.
        """
        if not self.active or rng.random() >= self.probability:
            return Mix(1.0)
        cut = bool(rng.random() < self.switch) if self.mixup and self.cutmix else self.cutmix > 0
        share = float(rng.beta(self.cutmix, self.cutmix) if cut else rng.beta(self.mixup, self.mixup))
        if not cut:
            return Mix(share)
        box = cut_box(height, width, share, int(rng.integers(height)), int(rng.integers(width)))
        top, left, bottom, right = box
        return Mix(1 - (bottom - top) * (right - left) / (height * width), box)


def cut_box(height: int, width: int, share: float, row: int, column: int) -> tuple[int, int, int, int]:
    """Return the box (top, left, bottom, right) around a centre that leaves `share` of the area, cut at the edges."""
    rows, columns = int(height * (1 - share) ** 0.5), int(width * (1 - share) ** 0.5)
    top, left = max(0, row - rows // 2), max(0, column - columns // 2)
    return top, left, min(height, row + rows // 2), min(width, column + columns // 2)


def neighbours(tensor: Tensor) -> Tensor:
    """Return a tensor (B, ...) in which 0 and 1, 2 and 3, ... have changed places."""
    return tensor.unflatten(0, (-1, PAIR)).flip(1).flatten(0, 1)
