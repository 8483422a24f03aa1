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
COLOURS = 3  # channels of a checkpoint that can be inflated


def inflated(tensors: Mapping[str, Entry], channels: int) -> dict[str, Entry]:
    """Return the tensors of a checkpoint of three channels, under canonical names, for another number of channels."""
    change = partial(inflate_patches, channels=channels)
    return {
        name: entry.changed((entry.shape[0], channels, *entry.shape[2:]), change)
        if name.endswith(_PROJECTION) and len(entry.shape) == 4
        else entry
        for name, entry in tensors.items()
    }


def inflation_in_words(channels: int) -> str:
    """Return what was done to the patch embedding, for the report of a loading."""
    how = "repeated, each copy with its share" if channels > COLOURS else "summed"
    return f"the patch embedding was inflated from 3 to {channels} channels: the weights of colours were {how}"


def inflate_patches(weight_D3hw: NDArray[np.floating], channels: int) -> NDArray[np.floating]:
    """Return the weights (D, C, h, w) of a patch embedding for other than three channels.

    Colours are repeated in turn (red, green, blue, red, ...), and the copies of one share its weight, so that a picture
    whose channels are repeated in this way gives what its three channels gave. One or two channels share the sum, which
    is for grey what all three gave.
    """
    if channels < COLOURS:
        return np.repeat(weight_D3hw.sum(axis=1, keepdims=True) / channels, channels, axis=1)
    colours_C = np.arange(channels) % COLOURS
    copies_C = np.bincount(colours_C)[colours_C].astype(weight_D3hw.dtype)
    return weight_D3hw[:, colours_C] / copies_C[:, None, None]
