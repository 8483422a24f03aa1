"""Inflation of a patch embedding of red, green and blue to another number of channels.

Legend: C channels, D hidden, h x w pixels of a patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from beit.weights.rules import Entry

_PROJECTION = "embeddings.patch_embeddings.projection.weight"
_COLOURS = 3


def inflated(tensors: Mapping[str, Entry], before: int, channels: int) -> tuple[dict[str, Entry], str | None]:
    """Return the tensors of a checkpoint for another number of channels, and the change in words; None for none.

    Args:
        tensors: Under canonical names.
        before: Channels of the checkpoint; only three can be inflated.
        channels: Channels of the model.
    """
    if before != _COLOURS or channels == _COLOURS:
        return dict(tensors), None
    change = partial(inflate_patches, channels=channels)
    adapted = {
        name: entry.changed((entry.shape[0], channels, *entry.shape[2:]), change)
        if name.endswith(_PROJECTION) and len(entry.shape) == 4
        else entry
        for name, entry in tensors.items()
    }
    how = "repeated, each copy with its share" if channels > _COLOURS else "summed"
    return adapted, f"the patch embedding was inflated from 3 to {channels} channels: the weights of colours were {how}"


def inflate_patches(weight_D3hw: NDArray[np.floating], channels: int) -> NDArray[np.floating]:
    """Return the weights (D, C, h, w) of a patch embedding for other than three channels.

    Colours are repeated in turn (red, green, blue, red, ...), and the copies of one share its weight, so that a picture
    whose channels are repeated in this way gives what its three channels gave. One or two channels share the sum, which
    is for grey what all three gave.
    """
    if channels < _COLOURS:
        return np.repeat(weight_D3hw.sum(axis=1, keepdims=True) / channels, channels, axis=1)
    colours_C = np.arange(channels) % _COLOURS
    copies_C = np.bincount(colours_C)[colours_C].astype(weight_D3hw.dtype)
    return weight_D3hw[:, colours_C] / copies_C[:, None, None]
