"""Patch features of held-out pictures in colours, for the report of a pre-training.

Legend: B pictures, N patches, D features, h x w patches; C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from beit.data import ImageSource, Views, spread
from beit.evaluation.features.layers import PictureSet
from beit.geometry import Grid
from beit.image.patch_colours import Map, enlarged, fit_colours
from beit.reports.report import Figure, Section, figure, picture_figure

Layers = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]  # a batch to the patch features (B, N, D) of every layer
_MOST = 6  # pictures: a row of the page
_SHOWN_SIDE = 128  # of a picture, about
_TEXT = (
    "From top to bottom: held-out pictures, and the first three principal components of the features of their patches "
    "{layers}, as red, green and blue. The pictures share one PCA for each layer: in a row patches of one colour are "
    "alike to the model. Where the features mean something, parts of objects have a colour of their own."
)


def colours_section(layers: Layers, source: ImageSource, views: Views, grid: Grid, count: int) -> list[Section]:
    """Return a section with some held-out pictures and the patches of a few layers in colours; none without pictures.

    Args:
        layers: The model.
        source: Held-out pictures; those at even distances are shown, without broken ones.
        views: What evaluation sees of a picture.
        grid: Patches of it.
        count: Pictures to show, of which a row of the page holds six.
    """
    count = min(count, _MOST)
    some = spread(source, count)
    batch = next(PictureSet(some, views, 0, count, workers=0).batches(), None) if count else None
    if batch is None:
        return []
    states = layers(batch.tensors)
    maps = {number: _maps(states[number - 1], grid) for number in _few(len(states))}
    columns = [[figure(picture_CHW, "picture")] for picture_CHW in _pictures(batch.tensors["pixel_values"], views)]
    for number, found in maps.items():
        colours = fit_colours(lambda found=found: found)
        for column, map_hwD in zip(columns, found, strict=True):
            column.append(_figure(colours(map_hwD), f"layer {number}"))
    title, text = "Patch features of held-out pictures in colours", _TEXT.format(layers=_after(list(maps)))
    return [Section(title, text, gallery=columns, names=[Path(some.name(index)).name for index in batch.indices])]


def _few(layers: int) -> list[int]:
    """Return up to three layers, counted from 1: after a third, two thirds and all of them."""
    return sorted({max(1, round(layers * part / 3)) for part in (1, 2, 3)})


def _after(layers: list[int]) -> str:
    *others, last = map(str, layers)
    return f"after layers {', '.join(others)} and {last}" if others else f"after layer {last}"


def _maps(patches_BND: Tensor, grid: Grid) -> list[Map]:
    return list(patches_BND.float().unflatten(1, tuple(grid)).cpu().numpy())


def _pictures(pixels_BCHW: Tensor, views: Views) -> list[Map]:
    """Return normalised pictures in [0, 1]."""
    mean, std = (np.reshape(values, (-1, 1, 1)) for values in (views.preprocessing.mean, views.preprocessing.std))
    return [(one.float().cpu().numpy() * std + mean).astype(np.float32) for one in pixels_BCHW]


def _figure(colours_hw3: NDArray[np.uint8], caption: str) -> Figure:
    rows, cols, _ = colours_hw3.shape
    factor = max(1, round(_SHOWN_SIDE / max(rows, cols)))
    return picture_figure(enlarged(colours_hw3, (cols * factor, rows * factor)), caption)
