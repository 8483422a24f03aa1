"""Steps of preprocessing: resize, crop, rescale and normalise, in the arithmetic of the published processor.

That processor resizes 8-bit pictures with Pillow, also those given as real numbers, then computes in float32. After
8 bits only 256 values exist per channel, so rescaling and normalising are looked up, not computed.

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from beit.errors import ConfigError, DataError
from beit.image.bands import AnyPicture, Bands, as_rgb
from beit.image.input_types import Picture, Pixels
from beit.image.options import PerChannel, Steps

Floats = NDArray[np.float32]

HALF = (0.5, 0.5, 0.5)  # mean and std of every published BEiT but the ImageNet-1K pre-training


def to_unit_array(picture: AnyPicture) -> Floats:
    """Return a picture as (C, H, W) in [0, 1]."""
    if isinstance(picture, Bands):
        return picture.unit_array()
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) * np.float32(1 / 255)


def normalise(unit_CHW: Floats, mean: Sequence[float] = HALF, std: Sequence[float] = HALF) -> Floats:
    """Return (pixels - mean) / std per channel."""
    mean_C11 = np.asarray(mean, dtype=np.float32)[:, None, None]
    std_C11 = np.asarray(std, dtype=np.float32)[:, None, None]
    return (unit_CHW - mean_C11) / std_C11


_PILLOW = int(PIL.__version__.split(".")[0])
_KNOWN_PILLOW = 13  # the newest whose order of rows and columns is known
_WHOLE = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Cropped:
    """A picture after resizing and cropping.

    Attributes:
        pixels_HWC: Its pixels; uint8 where they can be looked up.
        of_unit: Whether these 8-bit values stand for real numbers in [0, 1], as the picture was given in.
        layout: Where the channels stood in what the caller gave.
        deep: Whether they are real numbers in [0, 255], of a file of more than 8 bits.
    """

    pixels_HWC: Pixels
    of_unit: bool
    layout: str
    deep: bool = False

    @property
    def scaled(self) -> bool:
        """True if the pixels look as if they had been divided by 255 already."""
        if self.of_unit or self.deep:
            return self.of_unit
        return self.pixels_HWC.dtype.kind == "f" and 0 < self.pixels_HWC.max() <= 1


def resize_and_crop(picture: Picture, steps: Steps) -> Cropped:
    """Return the resized and cropped part of a picture.

    Raises:
        DataError: If its numbers cannot be taken to 8 bits, which resizing needs.
    """
    content, of_unit = picture.content, False
    if isinstance(content, Bands):
        if steps.factor is not None or steps.mean is not None:
            return _resize_and_crop_deep(content, picture.layout, steps)
        content = as_rgb(content)  # nothing is computed: 8 bits are wanted
    height, width = steps.resized_hw(*picture.hw)
    if steps.size is not None and not isinstance(content, Image.Image):
        content, of_unit = to_eight_bits(content)
    if steps.size is not None:
        in_one_step = _resize_to_crop(content, (height, width), steps)
        if in_one_step is not None:
            return Cropped(in_one_step, of_unit, picture.layout)
        content = _resize(content, (height, width), steps.resample)
    pixels_HWC = np.asarray(content)
    if steps.crop_hw is not None:
        pixels_HWC = center_crop(pixels_HWC, steps.crop_hw)
    return Cropped(pixels_HWC, of_unit, picture.layout)


def _resize_and_crop_deep(content: Bands, layout: str, steps: Steps) -> Cropped:
    """Return the resized and cropped part of a picture of more than 8 bits, as real numbers in [0, 255]."""
    if steps.size is not None:
        height, width = steps.resized_hw(content.height, content.width)
        content = content.resize((width, height), steps.resample)
    pixels_HWC = content.unit_array().transpose(1, 2, 0) * np.float32(255)
    cropped_HWC = pixels_HWC if steps.crop_hw is None else center_crop(pixels_HWC, steps.crop_hw)
    return Cropped(cropped_HWC, False, layout, deep=True)


def to_eight_bits(pixels: Pixels) -> tuple[NDArray[np.uint8], bool]:
    """Return numbers with 8 bits, and whether they were real numbers in [0, 1].

    Whole numbers in [0, 255] are kept, others in [0, 1] are multiplied by 255 and cut off, as in the published API;
    a value that is whole but for rounding is taken as whole.

    Raises:
        DataError: If the numbers are in neither range.
    """
    if pixels.dtype == np.uint8:
        return pixels, False
    low, high = pixels.min(), pixels.max()
    if low >= 0 and high <= 255:
        whole = np.rint(pixels)
        if np.all(np.abs(pixels - whole) <= 1e-5 * whole):
            return whole.astype(np.uint8), False
        if high <= 1:
            return (pixels * 255 + 1e-4).astype(np.uint8), True
    raise DataError(
        f"the picture is an array of {pixels.dtype} from {low:g} to {high:g}; resizing needs whole numbers in 0..255 "
        "or real numbers in 0..1; scale it, or resize it yourself and set do_resize=False"
    )


def center_crop(pixels: Pixels, crop_hw: tuple[int, int]) -> Pixels:
    """Return the centre of an array (H, W, ...), filled up with zeros where the crop is larger.

    The crop starts at floor((size - crop) / 2): with an odd number of pixels to remove or add, one more is removed at
    the end, one more is added at the start.
    """
    starts = [(size - crop) // 2 for size, crop in zip(pixels.shape, crop_hw, strict=False)]
    inside = pixels[tuple(slice(max(0, start), start + crop) for start, crop in zip(starts, crop_hw, strict=True))]
    if inside.shape[:2] == tuple(crop_hw):
        return inside
    padded = np.zeros((*crop_hw, *pixels.shape[2:]), pixels.dtype)
    top, left = (max(0, -start) for start in starts)
    padded[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return padded


def output_shape(cropped: Cropped, channels_last: bool) -> tuple[int, int, int]:
    """Return the shape of the array that `write_values` fills."""
    height, width, channels = cropped.pixels_HWC.shape
    return (height, width, channels) if channels_last else (channels, height, width)


def output_dtype(cropped: Cropped, steps: Steps) -> Any:
    """Return float32, or the input type where the steps compute nothing with the values."""
    if steps.factor is None and steps.mean is None and not cropped.of_unit:
        return cropped.pixels_HWC.dtype
    return np.float32


def write_values(cropped: Cropped, steps: Steps, out_CHW: Pixels) -> None:
    """Write rescaled and normalised pixels into an array of `output_dtype`, channels first (maybe seen through a view).

    Raises:
        ConfigError: If the mean or the standard deviation is not for this number of channels.
    """
    pixels_HWC = cropped.pixels_HWC
    mean_C, std_C = (_for_channels(values, pixels_HWC.shape[-1]) for values in (steps.mean, steps.std))
    for channel, out_HW in enumerate(out_CHW):
        mean, std = (None, None) if mean_C is None or std_C is None else (mean_C[channel], std_C[channel])
        if pixels_HWC.dtype == np.uint8:
            whole = (_WHOLE * (1 / 255)).astype(np.float32) if cropped.of_unit else _WHOLE
            table = _compute(whole, steps.factor, mean, std).astype(out_HW.dtype, copy=False)
            np.take(table, pixels_HWC[..., channel], out=out_HW, mode="clip")  # "clip" only spares a buffer
        else:
            out_HW[...] = _compute(pixels_HWC[..., channel], steps.factor, mean, std)


def _compute(values: Pixels, factor: float | None, mean: np.float32 | None, std: np.float32 | None) -> Pixels:
    """Return (values * factor - mean) / std, rounded to float32 after each step."""
    if factor is not None:
        values = (values * factor).astype(np.float32)
    return values if mean is None or std is None else (values.astype(np.float32) - mean) / std


def _for_channels(values: PerChannel | None, channels: int) -> NDArray[np.float32] | None:
    if values is None:
        return None
    if isinstance(values, tuple) and len(values) != channels:
        raise ConfigError(
            f"image_mean or image_std has {len(values)} values for a picture of {channels} channels; "
            f"expected one per channel, or a single number for all"
        )
    return np.broadcast_to(np.asarray(values, dtype=np.float32), (channels,))


def _resize(content: Image.Image | Pixels, hw: tuple[int, int], resample: Image.Resampling) -> Image.Image | Pixels:
    """Return a picture or array of 8 bits, resized."""
    if isinstance(content, Image.Image):
        return content.resize((hw[1], hw[0]), resample)
    channels = content.shape[-1]
    if channels in (3, 4):  # four channels as RGBA: colours are weighted with their opacity, as in the published API
        return np.asarray(Image.fromarray(np.ascontiguousarray(content)).resize((hw[1], hw[0]), resample))
    grey = [Image.fromarray(np.ascontiguousarray(content[..., channel])) for channel in range(channels)]
    return np.stack([np.asarray(image.resize((hw[1], hw[0]), resample)) for image in grey], axis=-1)


def _resize_to_crop(content: Image.Image | Pixels, hw: tuple[int, int], steps: Steps) -> Pixels | None:
    """Return only the pixels that the crop keeps, resized; None where that could differ from resizing all of them.

    A quarter of the work goes into a border that the crop of 224 from 256 removes. Pillow can resize a part of a
    picture, given as a box. It computes the same numbers if the coordinates of the box are exact (the scale is a
    fraction of a power of two) and if it goes through rows and columns in the same order as for the whole.
    """
    size, crop_hw = hw[0], steps.crop_hw
    if not isinstance(content, Image.Image) or crop_hw is None or crop_hw[0] != crop_hw[1] or hw[1] != size:
        return None
    width, height, crop = content.width, content.height, crop_hw[0]
    if crop >= size or steps.resample is Image.Resampling.NEAREST or _PILLOW > _KNOWN_PILLOW:
        return None
    if not all(_is_power_of_two(size // gcd(size, side)) for side in (width, height)):
        return None
    if max(width, height) * size > 2**24 or size in (width, height):  # Pillow leaves a side of that size unfiltered
        return None
    start, stop = (size - crop) // 2, (size - crop) // 2 + crop
    left, right = start * width / size, stop * width / size
    top, bottom = start * height / size, stop * height / size
    rows_last = columns_first(width, height, size)
    if rows_last == columns_first(width, height, crop):
        part = content.resize((crop, crop), steps.resample, box=(left, top, right, bottom))
    elif rows_last:
        part = content.resize((width, crop), steps.resample, box=(0, top, width, bottom))
        part = part.resize((crop, crop), steps.resample, box=(left, 0, right, crop))
    else:
        part = content.resize((crop, height), steps.resample, box=(left, 0, right, height))
        part = part.resize((crop, crop), steps.resample, box=(0, top, crop, bottom))
    return np.asarray(part)


def columns_first(width: int, height: int, side: int) -> bool:
    """Return whether Pillow resizes the columns of a picture before its rows, to a square of this side.

    Before version 13 it never did. Since then the sizes decide which order is cheaper; the rule was found by
    experiment, and a test fails if it changes.
    """
    return _PILLOW >= 13 and height > side and 2 * width < height + side


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
