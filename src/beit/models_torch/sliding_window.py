"""Sliding-window inference: scores for every pixel of a picture of any size, in bounded memory.

Windows are taken row by row along the longer side, small ones several at a time. Their scores are kept at the
resolution of the model, and enlarged a few rows of pixels at a time, as soon as no further window covers those.

Legend: B windows, C channels, K classes; H x W pixels of the picture, h x w pixels of a window, y x x a map of scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from beit.errors import ConfigError
from beit.image.post_processing import enlarged_rows
from beit.models_torch.segmentation import BeitForSemanticSegmentation

_ROWS_AT_ONCE = 64  # of the picture, enlarged together
_LEAST_PATCHES = 2  # along each side: the coarsest map of the head has half of them
_PIXELS_AT_ONCE = 2**18  # of windows that the model sees together: one of 512 x 512, 256 of 32 x 32


@dataclass(frozen=True)
class Windows:
    """Size and stride of the windows that divide a picture.

    Attributes:
        size_hw: Height and width of a window, in pixels.
        stride_hw: Distance between windows, in pixels.

    Raises:
        ConfigError: If windows would leave a gap.
    """

    size_hw: tuple[int, int]
    stride_hw: tuple[int, int]

    def __post_init__(self) -> None:
        """Check that windows leave no gap."""
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
        rows: Its rows in the picture.
        columns: Its columns.
        logits: Mean over the windows that cover a pixel, (K, rows, columns).
    """

    rows: slice
    columns: slice
    logits: Tensor


@torch.inference_mode()
def windowed_logits(
    model: BeitForSemanticSegmentation,
    pixels_CHW: Tensor,
    windows: Windows | None = None,
    before_each: Callable[[], None] = lambda: None,
) -> Iterator[Strip]:
    """Yield the mean scores of every pixel, strip by strip, from the first to the last.

    Args:
        model: A segmentation model, in evaluation mode.
        pixels_CHW: A normalised picture of any size. What is missing to a multiple of the patch size, and to two of
            them, is filled with 0.
        windows: How to divide it; None: one window of the picture's size.
        before_each: Called before every group of windows; what it raises ends the computation.

    Source: "slide" and "whole" inference of the published segmentation runs.
    """
    height, width = pixels_CHW.shape[1:]
    windows = windows or Windows((height, width), (height, width))
    if width > height:
        (size_h, size_w), (stride_h, stride_w) = windows.size_hw, windows.stride_hw
        turned = Windows((size_w, size_h), (stride_w, stride_h))
        for strip in _strips(model, pixels_CHW.transpose(1, 2), turned, True, before_each):
            yield Strip(strip.columns, strip.rows, strip.logits.transpose(1, 2))
    else:
        yield from _strips(model, pixels_CHW, windows, False, before_each)


class _Scored(NamedTuple):
    """Scores (K, y, x) of a window, with its upper left corner and its padded size."""

    top: int
    left: int
    logits_Kyx: Tensor
    padded_hw: tuple[int, int]


def _strips(
    model: BeitForSemanticSegmentation,
    pixels_CHW: Tensor,
    windows: Windows,
    turned: bool,
    before_each: Callable[[], None],
) -> Iterator[Strip]:
    """Yield strips from top to bottom; `turned` pictures are laid on their side and shown to the model upright."""
    height, width = pixels_CHW.shape[1:]
    downs, acrosses = windows.starts(height, 0), windows.starts(width, 1)
    size_h, size_w = min(windows.size_hw[0], height), min(windows.size_hw[1], width)
    across_W, down_H = _covers(acrosses, size_w, width), _covers(downs, size_h, height)
    together = max(1, _PIXELS_AT_ONCE // (size_h * size_w))
    seen: list[_Scored] = []
    for top, following in zip(downs, [*downs[1:], height], strict=True):
        for first in range(0, len(acrosses), together):
            before_each()
            lefts = acrosses[first : first + together]
            windows_BChw = torch.stack([pixels_CHW[:, top : top + size_h, left : left + size_w] for left in lefts])
            logits_BKyx, padded_hw = _scores(model, windows_BChw, turned)
            seen += [_Scored(top, left, logits, padded_hw) for left, logits in zip(lefts, logits_BKyx, strict=True)]
        for first in range(top, following, _ROWS_AT_ONCE):
            rows = slice(first, min(first + _ROWS_AT_ONCE, following))
            sums_KrW = _sums(seen, rows, (size_h, size_w), width)
            counts_rW = (down_H[rows, None] * across_W).to(sums_KrW)
            yield Strip(rows, slice(0, width), sums_KrW.div_(counts_rW))
        seen = [window for window in seen if window.top + size_h > following]


def _sums(seen: list[_Scored], rows: slice, size_hw: tuple[int, int], width: int) -> Tensor:
    """Return the sum of the enlarged scores (K, rows, W) over the windows that cover some rows of the picture."""
    first = seen[0].logits_Kyx
    sums_KrW = first.new_zeros(len(first), rows.stop - rows.start, width)
    for window in seen:
        start, stop = max(rows.start, window.top), min(rows.stop, window.top + size_hw[0])
        if start < stop:
            part = slice(start - window.top, stop - window.top)
            enlarged_KrW = enlarged_rows(window.logits_Kyx, window.padded_hw, part)[:, :, : size_hw[1]]
            across = slice(window.left, window.left + size_hw[1])
            sums_KrW[:, start - rows.start : stop - rows.start, across] += enlarged_KrW
    return sums_KrW


def _covers(starts: list[int], size: int, length: int) -> Tensor:
    """Return how many windows cover each position (length,)."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + size] += 1
    return counts


def _scores(model: BeitForSemanticSegmentation, windows_BChw: Tensor, turned: bool) -> tuple[Tensor, tuple[int, int]]:
    """Return the model's scores (B, K, y, x) of windows, and the size of a window that they are of."""
    upright = windows_BChw.transpose(2, 3) if turned else windows_BChw
    sides = zip(upright.shape[2:], model.config.patch_hw, strict=True)
    missing = [max(_LEAST_PATCHES * patch - side, -side % patch) for side, patch in sides]
    padded = functional.pad(upright, (0, missing[1], 0, missing[0]))
    logits_BKyx = model(padded, return_dict=True).logits.float()
    if turned:
        return logits_BKyx.transpose(2, 3), (padded.shape[3], padded.shape[2])
    return logits_BKyx, (padded.shape[2], padded.shape[3])
