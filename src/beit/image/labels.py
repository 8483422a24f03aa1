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
from beit.image.band_reading import numbers_of
from beit.image.depth import stretched_from
from beit.image.formats import opened_picture
from beit.image.input_types import Pixels, load_upright, to_array
from beit.image.options import Steps
from beit.image.reading import explained
from beit.image.steps import center_crop
from beit.image.tiff import has_signed_bytes

Labels = NDArray[np.int64]
IGNORED = 255  # the id that losses and metrics leave out
_KIND = "label map"
_SCALE = 257  # what numbers of 8 bits are multiplied by to fill 16


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


def check_plain(image: Image.Image, name: object) -> None:
    """Refuse an opened label map, not decoded yet, whose numbers would be decoded as others.

    Raises:
        DataError: If it has a sign in 8 bits, or is grey of 2 or 4 bits or with a white of its own (PGM).
    """
    if has_signed_bytes(image):
        raise DataError(f"{name} has 8 bits with a sign; expected none: save it as PNG with 8 bits")
    if (white := stretched_from(image)) is not None:
        raise DataError(
            f"{name} is grey from 0 to {white}, which is read as 0 to {255 if image.mode == 'L' else 65535}; expected "
            "numbers that are kept: save it as PNG with 8 bits, or with a palette"
        )


def deep_numbers(image: Image.Image, content: bytes, name: object) -> Image.Image:
    """Return an opened label map of several channels of 16 bits, upright: its numbers, or its colours in 8 bits.

    Raises:
        DataError: If its colours are none of 8 bits.
    """
    stored = numbers_of(image, content, name)
    values = stored.values[..., :-1] if stored.opacity else stored.values
    if (values == values[..., :1]).all():
        return Image.fromarray(np.ascontiguousarray(values[..., 0]))
    if (values % _SCALE).any():
        raise DataError(f"{name} has colours of 16 bits; expected 8: save it as PNG with 8 bits")
    return Image.fromarray((values // _SCALE).astype(np.uint8))


def check_opacity(image: Image.Image, name: object) -> None:
    """Refuse a label map, with opacity, that is all of one number and whose opacity is drawn instead.

    Raises:
        DataError: If it is.
    """
    if image.mode == "RGB":
        return
    least, most = image.getchannel(0).getextrema()
    clear, opaque = image.getchannel("A").getextrema()
    if least == most and clear != opaque:
        raise DataError(
            f"{name} has the number {least} everywhere, and is drawn in its opacity; expected one number per pixel: "
            "save its opacity (alpha channel) as a grey PNG"
        )
