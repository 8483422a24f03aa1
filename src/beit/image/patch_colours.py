"""Principal components of patch features as colours, and similarities between patches.

Source: DINOv2, arXiv 2304.07193, section 7 (PCA of patch features): the first three components are the colours red,
green and blue, and the first one, cut at zero, separates an object from its background.

Legend: N patches, D features, C components; h x w patches of a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import DataError

Map = NDArray[np.float32]  # (h, w, D)
Doubles = NDArray[np.float64]
_COLOURS = 3
_REACH = 2  # standard deviations of a component from the mean to its darkest and its brightest


@dataclass(frozen=True)
class PrincipalAxes:
    """Directions of the greatest variance of patch features.

    Attributes:
        mean_D: Mean of the features.
        axes_CD: Directions of unit length, the one of the greatest variance first; of zeros where there are fewer.
        deviations_C: Standard deviations along them.
        shares_C: Their shares of the variance, in [0, 1].
    """

    mean_D: Doubles
    axes_CD: Doubles
    deviations_C: Doubles
    shares_C: Doubles

    def scores(self, features: Map) -> Doubles:
        """Return components (..., C) of features (..., D)."""
        return (features - self.mean_D) @ self.axes_CD.T


@dataclass(frozen=True)
class PatchColours:
    """Colours of patches by their principal components.

    Attributes:
        axes: Those of the colours.
        split: Those of all patches, the first of which separates the foreground; None if all patches are coloured.
        side: 1 if the foreground is where that component is above 0, else -1.
    """

    axes: PrincipalAxes
    split: PrincipalAxes | None = None
    side: int = 1

    def __call__(self, map_hwD: Map) -> NDArray[np.uint8]:
        """Return a colour for each patch (h, w, 3); the background is black."""
        deviations_C = self.axes.deviations_C
        scores_hwC = self.axes.scores(map_hwD) / np.where(deviations_C > 0, deviations_C, 1)
        colours_hw3 = np.rint(255 * (0.5 + scores_hwC / (2 * _REACH)).clip(0, 1)).astype(np.uint8)
        return np.where(self.foreground(map_hwD)[..., None], colours_hw3, 0).astype(np.uint8)

    def foreground(self, map_hwD: Map) -> NDArray[np.bool_]:
        """Return the patches that are coloured (h, w)."""
        if self.split is None:
            return np.ones(map_hwD.shape[:2], dtype=bool)
        return self.side * self.split.scores(map_hwD)[..., 0] > 0


def fit_colours(maps: Callable[[], Iterable[Map]], foreground: bool = False) -> PatchColours:
    """Return the colours of one picture's patches, or those that several pictures share.

    Args:
        maps: Yields the features of every picture; asked again for each pass, so that they need not fit into memory.
        foreground: Whether to colour the foreground alone. It is the side of the first component that has the smaller
            share of its patches on the pictures' borders: the sign of a component says nothing by itself.

    Raises:
        DataError: If there are no patches.
    """
    axes = principal_axes(_rows(map_hwD) for map_hwD in maps())
    if not foreground:
        return PatchColours(axes)
    split = PatchColours(axes, axes, _side(axes, maps()))
    inside = principal_axes((map_hwD[split.foreground(map_hwD)] for map_hwD in maps()), axes)
    return PatchColours(inside, axes, split.side)


def principal_axes(parts: Iterable[Map], without: PrincipalAxes | None = None) -> PrincipalAxes:
    """Return the first three principal axes of features that come in parts (N, D).

    The axes are right singular vectors of the centred features; of several parts the triangle of a QR decomposition
    stands for those that have been, which changes nothing but rounding. An axis points to where its largest loading is
    positive, as in scikit-learn.

    Args:
        parts: The features, at least one part.
        without: Axes to return if all parts are empty; None: that is an error.

    Raises:
        DataError: If there are no features.
    """
    count, squares, mean_D, kept = 0, 0.0, np.zeros(0), np.zeros((0, 0))
    for part_ND in parts:
        part_ND = part_ND.astype(np.float64)
        if not len(part_ND):
            continue
        own_D, total = part_ND.mean(axis=0), count + len(part_ND)
        centred_ND = part_ND - own_D
        if count:
            between_1D = np.sqrt(count * len(part_ND) / total) * (own_D - mean_D)[None]
            kept = cast(Doubles, np.linalg.qr(np.concatenate([kept, centred_ND, between_1D]), mode="r"))
        else:
            mean_D, kept = own_D, centred_ND
        mean_D = mean_D + (own_D - mean_D) * (len(part_ND) / total)
        count, squares = total, squares + float(np.square(part_ND).sum())
    if not count and without is not None:
        return without
    if not count:
        raise DataError("there are no patches; expected one picture at least")
    return _axes(kept, mean_D, count, np.sqrt(squares))


def similarity(map_hwD: Map, row: int, col: int) -> NDArray[np.float32]:
    """Return the cosine similarity of every patch to one of them (h, w), in [-1, 1]."""
    lengths_hw = np.linalg.norm(map_hwD.astype(np.float64), axis=-1)
    products_hw = map_hwD.astype(np.float64) @ map_hwD[row, col]
    scales_hw = lengths_hw * lengths_hw[row, col]
    return (products_hw / np.where(scales_hw > 0, scales_hw, 1)).clip(-1, 1).astype(np.float32)


def enlarged(colours_hw3: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Return colours of patches as a picture of a size (width, height), each patch one square."""
    return Image.fromarray(colours_hw3).resize(size, Image.Resampling.NEAREST)


def _axes(centred_ND: Doubles, mean_D: Doubles, count: int, length: float) -> PrincipalAxes:
    """Return the axes of centred features; `length` is the norm of all features, which says what is rounding."""
    _, deviations_C, axes_CD = np.linalg.svd(centred_ND, full_matrices=False)
    real_C = deviations_C > np.finfo(np.float32).eps * length  # features are of float32
    total = np.square(deviations_C[real_C]).sum()
    found = int(min(real_C.sum(), _COLOURS))
    largest_C = np.abs(axes_CD[:found]).argmax(axis=1)
    signs_C = np.sign(axes_CD[np.arange(found), largest_C])
    padded_CD = np.zeros((_COLOURS, len(mean_D)))
    padded_CD[:found] = axes_CD[:found] * signs_C[:, None]
    padded_C = np.zeros(_COLOURS)
    padded_C[:found] = deviations_C[:found]
    return PrincipalAxes(
        mean_D, padded_CD, padded_C / np.sqrt(max(count - 1, 1)), np.square(padded_C) / (total if total > 0 else 1)
    )


def _rows(map_hwD: Map) -> Map:
    return map_hwD.reshape(-1, map_hwD.shape[-1])


def _side(axes: PrincipalAxes, maps: Iterable[Map]) -> int:
    """Return the sign of the first component on the side with the smaller share of its patches on the borders."""
    counts = np.zeros((2, 2))  # (below 0, above 0), (all patches, those on the border)
    for first_hw in _first_components(axes, maps):
        border_hw = np.ones(first_hw.shape, dtype=bool)
        border_hw[1:-1, 1:-1] = False
        for row, side_hw in enumerate((first_hw < 0, first_hw > 0)):
            counts[row] += side_hw.sum(), (side_hw & border_hw).sum()
    below, above = counts[:, 1] / np.maximum(counts[:, 0], 1)
    return -1 if below < above else 1


def _first_components(axes: PrincipalAxes, maps: Iterable[Map]) -> Iterator[Doubles]:
    for map_hwD in maps:
        yield axes.scores(map_hwD)[..., 0]
