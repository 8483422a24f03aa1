"""Features of every layer of a model over a set of pictures: the mean of the patches of each picture.

Legend: B batch, N patches, D features, P pictures; C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from beit.data import require_usable
from beit.evaluation.features.pictures import PictureSet

# tensors of a batch to the patch features (B, N, D) of every layer, from the first
Layers = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]
_PIXEL_SIDE = 16  # the pixels of a picture are averaged to at most so many on each side


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


def _moments(patches_BND: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means over the patches (B, D), and the variances around them, summed over the features (B,)."""
    patches_BND = patches_BND.float()
    means_BD = patches_BND.mean(dim=1)
    return means_BD, (patches_BND - means_BD.unsqueeze(1)).square().sum(dim=2).mean(dim=1)
