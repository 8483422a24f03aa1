"""Label maps: one class id per pixel, resized and cropped with their pictures and never blended.

Legend: H x W pixels.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import DataError
from beit.image.formats import opened_picture
from beit.image.input_types import Pixels, load_upright, to_array
from beit.image.label_numbers import check_plain
from beit.image.options import Steps
from beit.image.reading import explained
from beit.image.steps import center_crop

Labels = NDArray[np.int64]
IGNORED = 255  # the id that losses and metrics leave out
_KIND = "label map"


def process_maps(maps: Any, count: int, steps: Steps, reduce: bool) -> list[Labels]:
    """Return label maps that fit the processed pictures.

    Args:
        maps: A map or several, as Pillow images of one channel, arrays, tensors, paths or bytes, in lists or stacked.
        count: How many pictures they belong to.
        steps: What is done to the pictures; only resizing (to the nearest pixel) and cropping concern maps.
        reduce: Whether id 0 becomes 255 and every other one less.

    Returns:
        One int64 array (height, width) per map, sharing no memory with what was given.

    Raises:
        ConfigError: If an argument is no map.
        DataError: If their number is another than that of the pictures, or one cannot be read as class ids.
    """
    flat = _flatten(maps, count)
    if len(flat) != count:
        raise DataError(f"got {len(flat)} label maps for {count} pictures; pass one map for each picture")
    return [_process(item, steps, reduce) for item in flat]


def reduce_labels(labels: Labels) -> Labels:
    """Return ids less one in a new array; 0 (background) becomes 255 (ignored), 255 stays."""
    return np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1)


def resize_labels(labels: Labels, hw: tuple[int, int]) -> Labels:
    """Return a map of another size, each pixel the nearest of the old ones, where Pillow finds that for pictures.

    Raises:
        DataError: If an id is too large for Pillow.
    """
    if labels.shape == hw:
        return labels
    narrow = labels.astype(np.int32)  # the widest whole numbers that Pillow has
    if not np.array_equal(narrow, labels):
        raise DataError(f"a {_KIND} has ids up to {labels.max()}; resizing takes ids below 2**31; renumber its classes")
    resized = Image.fromarray(narrow).resize((hw[1], hw[0]), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(np.int64)


def _process(source: Any, steps: Steps, reduce: bool) -> Labels:
    labels = _to_ids(_read(source))
    if reduce:
        labels = reduce_labels(labels)
    if steps.size is not None:
        labels = resize_labels(labels, steps.resized_hw(*labels.shape))
    if steps.crop_hw is not None:
        labels = center_crop(labels, steps.crop_hw)
    return np.ascontiguousarray(labels)


def _flatten(maps: Any, count: int) -> list[Any]:
    """Return single maps; a dimension of one channel, first or last, is dropped."""
    if isinstance(maps, list | tuple):
        return [single for item in maps for single in _flatten(item, 1)]
    if isinstance(maps, Image.Image) or getattr(maps, "ndim", 0) < 3:
        return [maps]
    if maps.shape[-1] == 1 and maps.shape[0] != count:  # (H, W, 1), not a batch of maps that are one pixel wide
        return _flatten(maps[..., 0], count)
    return [single for item in maps for single in _flatten(item, 1)]


def _read(source: Any) -> Pixels:
    if isinstance(source, bytes | bytearray | memoryview):
        with explained(f"the {_KIND}"), opened_picture(bytes(source)) as image:
            return _read(image)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        with explained(f"{_KIND} {path}"), opened_picture(path) as image:
            return _read(image)
    if not isinstance(source, Image.Image):
        return to_array(source, _KIND)
    check_plain(source, f"the {_KIND}")
    source = load_upright(source, _KIND)
    if len(source.getbands()) != 1:
        raise DataError(
            f"a {_KIND} has {source.mode} pixels; expected one class id per pixel, as in the modes L, P or I;16; "
            "replace its colours with ids first"
        )
    return np.asarray(source)


def _to_ids(numbers: Pixels) -> Labels:
    """Return a new array of whole numbers."""
    if numbers.ndim != 2 or numbers.size == 0:
        raise DataError(f"a {_KIND} has shape {numbers.shape}; expected (height, width), at least 1 x 1")
    if numbers.dtype.kind == "f" and not np.array_equal(numbers, np.rint(numbers)):  # NaN differs from itself
        raise DataError(f"a {_KIND} of {numbers.dtype} has values that are not whole; expected class ids")
    return numbers.astype(np.int64)
