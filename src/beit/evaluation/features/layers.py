"""Features of every layer of a model over a fixed set of pictures: the mean of the patches of each picture.

Legend: B batch, N patches, X patches of a batch, D features, P pictures; C channels, H x W pixels, h x w of a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from beit.data import (
    Batch,
    BrokenPicture,
    Collate,
    ImageSource,
    ViewDataset,
    evaluation_batches,
    require_usable,
)

Shown = Callable[[Any, np.random.Generator], Mapping[str, Any]]  # a picture, as it is opened, to its views
# tensors of a batch to the patch features (B, N, D) of every layer, from the first
Layers = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]
_MOST_KEPT = 2**27  # bytes of a set that are kept in memory; a larger one is read again every time
_PIXEL_SIDE = 16  # the pixels of a picture are averaged to at most so many on each side


class PictureSet:
    """Some pictures in the same views every time, as batches; a small set is read once and kept.

    Attributes:
        broken: Pictures that were left out in the newest pass that read them.

    Args:
        source: The pictures; also an attribute.
        shown: Their views.
        seed: Of the views, if they are random.
        batch_size: Pictures per batch.
        workers: Processes that load them.
    """

    def __init__(self, source: ImageSource, shown: Shown, seed: int, batch_size: int, workers: int) -> None:
        self.source = source
        self._dataset = ViewDataset(source, shown, seed, replace_broken=False)
        self._batch_size, self._workers = batch_size, workers
        self._kept: list[Batch] | None = None
        self.broken: list[BrokenPicture] = []

    def batches(self) -> Iterator[Batch]:
        """Yield the usable pictures in order; broken ones are left out."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Batch] = []
        size = 0
        self.broken = []
        for batch in evaluation_batches(self._dataset, Collate(0), self._batch_size, self._workers):
            self.broken += batch.broken
            if not batch.indices:
                continue
            size += sum(tensor.nbytes for tensor in batch.tensors.values())
            kept = [*kept, batch] if size <= _MOST_KEPT else []
            yield batch
        if size <= _MOST_KEPT:
            self._kept = kept


@dataclass(frozen=True)
class LayerFeatures:
    """Features of one layer.

    Attributes:
        means_PD: Mean over the patches of every picture (P, D), float32.
        within_P: Variance of its patches around that mean, summed over the features (P,).
    """

    means_PD: NDArray[np.float32]
    within_P: NDArray[np.float32]


@dataclass(frozen=True)
class Pass:
    """Features of one pass over a set of pictures.

    Attributes:
        layers: Of every layer, from the first.
        indices_P: Numbers of the usable pictures in their source (P,).
    """

    layers: list[LayerFeatures]
    indices_P: NDArray[np.int64]


@torch.inference_mode()
def features_of(layers: Layers, pictures: PictureSet) -> Pass:
    """Return the features of every layer, in float32 and in the host's memory.

    Raises:
        DataError: If no picture is usable.
    """
    kept: list[list[tuple[Tensor, Tensor]]] = []
    indices: list[int] = []
    for batch in pictures.batches():
        kept.append([_moments(patches_BND) for patches_BND in layers(batch.tensors)])
        indices += batch.indices
    require_usable(len(indices), len(pictures.source), [])
    joined = [
        [torch.cat(parts).cpu().numpy() for parts in zip(*layer, strict=True)] for layer in zip(*kept, strict=True)
    ]
    return Pass([LayerFeatures(*parts) for parts in joined], np.array(indices, dtype=np.int64))


def pixel_features(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the pixels of a batch as one layer of one patch (B, 1, D): what needs no model at all.

    Pictures are averaged to at most 16 x 16 pixels, 768 features of a coloured picture, as many as a base model has.
    """
    pixels_BCHW = tensors["pixel_values"].float()
    height, width = (min(_PIXEL_SIDE, side) for side in pixels_BCHW.shape[2:])
    return [functional.adaptive_avg_pool2d(pixels_BCHW, (height, width)).flatten(1).unsqueeze(1)]


def patch_pixels(grid_hw: tuple[int, int]) -> Layers:
    """Return what gives the pixels of every patch as one layer (B, N, D): what needs no model at all.

    A patch is averaged to at most 16 x 16 pixels.

    Args:
        grid_hw: Rows and columns of patches.
    """

    def layers(tensors: Mapping[str, Tensor]) -> list[Tensor]:
        pixels_BCHW = tensors["pixel_values"].float()
        patches = pixels_BCHW.unflatten(3, (grid_hw[1], -1)).unflatten(
            2, (grid_hw[0], -1)
        )  # (B, C, rows, h, columns, w)
        patches_BNChw = patches.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        height, width = (min(_PIXEL_SIDE, side) for side in patches_BNChw.shape[3:])
        small_XChw = functional.adaptive_avg_pool2d(patches_BNChw.flatten(0, 1), (height, width))
        return [small_XChw.flatten(1).unflatten(0, patches_BNChw.shape[:2])]

    return layers


def _moments(patches_BND: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means over the patches (B, D), and the variances around them, summed over the features (B,)."""
    patches_BND = patches_BND.float()
    means_BD = patches_BND.mean(dim=1)
    return means_BD, (patches_BND - means_BD.unsqueeze(1)).square().sum(dim=2).mean(dim=1)
