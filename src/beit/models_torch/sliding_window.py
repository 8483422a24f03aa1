"""Scores for every pixel of a picture of any size, from windows that overlap, in bounded memory.

Windows are taken strip by strip along the longer side, and a strip is handed over as soon as no further window covers
it: what is held at once is the scores of one window's length of the picture.

Legend: C channels, K classes; H x W pixels of the picture, h x w pixels of a window, y x x a map of scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from beit.errors import ConfigError
from beit.models_torch.segmentation import BeitForSemanticSegmentation

_CLASSES_AT_ONCE = 16  # enlarged together


@dataclass(frozen=True)
class Windows:
    """How a picture is divided.

    Attributes:
        size_hw: Height and width of a window, in pixels.
        stride_hw: Distance between windows, in pixels.

    Raises:
        ConfigError: If windows would leave something out.
    """

    size_hw: tuple[int, int]
    stride_hw: tuple[int, int]

    def __post_init__(self) -> None:
        """Check that windows touch."""
        for size, stride in zip(self.size_hw, self.stride_hw, strict=True):
            if not 1 <= stride <= size:
                raise ConfigError(f"the stride of a window of {size} pixels is {stride}; expected 1 to {size}")

    def starts(self, length: int, axis: int) -> list[int]:
        """Return where windows start along an axis; the last one ends with the picture."""
        size, stride = self.size_hw[axis], self.stride_hw[axis]
        if length <= size:
            return [0]
        return [*range(0, length - size, stride), length - size]


@dataclass(frozen=True)
class Strip:
    """A finished part of a picture's scores.

    Attributes:
        rows: Which rows of the picture.
        columns: Which columns.
        logits: Mean over the windows that cover a pixel, (K, rows, columns).
    """

    rows: slice
    columns: slice
    logits: Tensor


@torch.inference_mode()
def windowed_logits(
    model: BeitForSemanticSegmentation, pixels_CHW: Tensor, windows: Windows | None = None
) -> Iterator[Strip]:
    """Yield the mean scores of every pixel, strip by strip, from the first to the last.

    Args:
        model: A segmentation model, in evaluation mode.
        pixels_CHW: A normalised picture of any size. What is missing to a multiple of the patch size is filled with 0.
        windows: How to divide it; None: one window of the picture's size.

    Source: "slide" and "whole" inference of the published segmentation runs.
    """
    height, width = pixels_CHW.shape[1:]
    windows = windows or Windows((height, width), (height, width))
    if width > height:
        (size_h, size_w), (stride_h, stride_w) = windows.size_hw, windows.stride_hw
        turned = Windows((size_w, size_h), (stride_w, stride_h))
        for strip in _strips(model, pixels_CHW.transpose(1, 2), turned, turned=True):
            yield Strip(strip.columns, strip.rows, strip.logits.transpose(1, 2))
    else:
        yield from _strips(model, pixels_CHW, windows, turned=False)


def _strips(model: BeitForSemanticSegmentation, pixels_CHW: Tensor, windows: Windows, turned: bool) -> Iterator[Strip]:
    """Yield strips from top to bottom; `turned` pictures are laid on their side and shown to the model upright."""
    height, width = pixels_CHW.shape[1:]
    downs, acrosses = windows.starts(height, 0), windows.starts(width, 1)
    size_h, size_w = min(windows.size_hw[0], height), min(windows.size_hw[1], width)
    across_W = _covers(acrosses, size_w, width)
    down_H = _covers(downs, size_h, height)
    sums_KhW: Tensor | None = None
    for top, following in zip(downs, [*downs[1:], height], strict=True):
        for left in acrosses:
            window_Chw = pixels_CHW[:, top : top + size_h, left : left + size_w]
            logits_Kyx, padded_hw = _scores(model, window_Chw, turned)
            if sums_KhW is None:
                sums_KhW = logits_Kyx.new_zeros(len(logits_Kyx), size_h, width)
            _add_enlarged(sums_KhW[:, :, left : left + size_w], logits_Kyx, padded_hw)
        assert sums_KhW is not None  # noqa: S101  # for the type checker: there is a window
        done = following - top
        counts_hW = down_H[top:following, None] * across_W
        yield Strip(slice(top, following), slice(0, width), sums_KhW[:, :done] / counts_hW.to(sums_KhW))
        sums_KhW[:, : size_h - done] = sums_KhW[:, done:].clone()
        sums_KhW[:, size_h - done :] = 0


def _covers(starts: list[int], size: int, length: int) -> Tensor:
    """Return how many windows cover each position (length,)."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + size] += 1
    return counts


def _scores(model: BeitForSemanticSegmentation, window_Chw: Tensor, turned: bool) -> tuple[Tensor, tuple[int, int]]:
    """Return the model's scores (K, y, x) of a window, and the size of the window that they are of."""
    upright = window_Chw.transpose(1, 2) if turned else window_Chw
    patch_height, patch_width = model.config.patch_hw
    missing = -upright.shape[1] % patch_height, -upright.shape[2] % patch_width
    padded = functional.pad(upright, (0, missing[1], 0, missing[0]))
    logits_Kyx = model(padded[None], return_dict=True).logits[0].float()
    if turned:
        return logits_Kyx.transpose(1, 2), (padded.shape[2], padded.shape[1])
    return logits_Kyx, (padded.shape[1], padded.shape[2])


def _add_enlarged(sums_Khw: Tensor, logits_Kyx: Tensor, padded_hw: tuple[int, int]) -> None:
    """Add scores, enlarged to the pixels of their window, a few classes at a time."""
    height, width = sums_Khw.shape[1:]
    for first in range(0, len(logits_Kyx), _CLASSES_AT_ONCE):
        some = slice(first, first + _CLASSES_AT_ONCE)
        enlarged = functional.interpolate(logits_Kyx[None, some], padded_hw, mode="bilinear", align_corners=False)[0]
        sums_Khw[some] += enlarged[:, :height, :width]
