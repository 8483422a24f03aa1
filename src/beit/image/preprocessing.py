"""Deterministic preprocessing of a picture, saved beside the model as `preprocessor_config.json`.

It equals `BeitImageProcessor` with such a file, for one picture at a time, and returns the geometry too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from beit.errors import ConfigError, shortened
from beit.image.bands import COLOURS, AnyPicture, BandOptions, Bands, Box
from beit.image.input_types import Picture
from beit.image.options import LAST, Steps, size_to_dict
from beit.image.processor import BeitImageProcessor
from beit.image.steps import HALF, Floats, center_crop, normalise, resize_and_crop, write_values
from beit.image.value_range import BITS, Asked

_RANGE, _FRAME = "value_range", "frame"  # the options of these names in the file


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop the centre, scale to [0, 1], normalise.

    Attributes:
        image_hw: Size of the model input, (height, width) in pixels.
        resize: Size of the picture before the crop: (height, width), or the length of its shorter side,
            which keeps its shape. 256 for 224 is a crop of 0.875.
        mean: Mean per channel.
        std: Standard deviation per channel.
        resample: Filter of the resizing.
        value_range: The values in a file of more than 8 bits that stand for 0 and 1, see `BandOptions`.
        frame: Which of several frames of a file is read, from 0.

    Source: `BeitImageProcessor` of the published API, whose options the saved file holds.
    """

    image_hw: tuple[int, int]
    resize: tuple[int, int] | int
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF
    resample: Image.Resampling = Image.Resampling.BICUBIC
    value_range: Asked | None = None
    frame: int | None = None

    @classmethod
    def cropping(cls, image_hw: tuple[int, int], crop_share: float, **options: Any) -> Self:
        """Return the view that keeps a picture's shape and crops about `crop_share` of its shorter side."""
        return cls(image_hw, round(max(image_hw) / crop_share), **options)

    def at_size(self, hw: tuple[int, int]) -> Self:
        """Return the view of another size that shows the same part of pictures."""
        down, across = hw[0] / self.image_hw[0], hw[1] / self.image_hw[1]
        if isinstance(self.resize, int):
            return replace(self, image_hw=hw, resize=round(self.resize * max(down, across)))
        return replace(self, image_hw=hw, resize=(round(self.resize[0] * down), round(self.resize[1] * across)))

    @cached_property
    def steps(self) -> Steps:
        """Its steps in the form of a processor."""
        return Steps(self.resize, self.resample, self.image_hw, 1 / 255, self.mean, self.std)

    @property
    def bands(self) -> BandOptions | None:
        """Reading of its pictures, if they have other than three channels, a range, or frames; None of RGB."""
        options = BandOptions(len(self.mean), self.value_range, self.frame)
        return None if options == BandOptions(COLOURS) else options

    def __call__(self, picture: AnyPicture) -> Floats:
        """Return the model input (C, height, width) of a picture."""
        if isinstance(picture, Bands):
            return self._of_bands(picture)
        pixels_CHW = np.empty((3, *self.image_hw), np.float32)
        write_values(resize_and_crop(Picture(picture, LAST), self.steps), self.steps, pixels_CHW)
        return pixels_CHW

    def _of_bands(self, picture: Bands) -> Floats:
        height, width = self.steps.resized_hw(picture.height, picture.width)
        unit_HWC = picture.resize((width, height), self.resample).unit_array().transpose(1, 2, 0)
        return normalise(center_crop(unit_HWC, self.image_hw).transpose(2, 0, 1), self.mean, self.std)

    def crop(self, picture: AnyPicture) -> Image.Image:
        """Return the crop that the model sees, as RGB; one larger than the resized picture is padded with black."""
        if isinstance(picture, Bands):
            height, width = self.steps.resized_hw(picture.height, picture.width)
            unit_HWC = picture.resize((width, height), self.resample).unit_array().transpose(1, 2, 0)
            return Bands.of_array(center_crop(unit_HWC, self.image_hw)).shown()
        return Image.fromarray(np.ascontiguousarray(resize_and_crop(Picture(picture, LAST), self.steps).pixels_HWC))

    def box(self, picture_height: int, picture_width: int) -> Box:
        """Return the box of that crop in the pixels of the picture itself."""
        height, width = self.steps.resized_hw(picture_height, picture_width)
        top, left = (height - self.image_hw[0]) // 2, (width - self.image_hw[1]) // 2
        bottom, right = top + self.image_hw[0], left + self.image_hw[1]
        down, across = picture_height / height, picture_width / width
        return max(0, left) * across, max(0, top) * down, min(width, right) * across, min(height, bottom) * down

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `preprocessor_config.json` into a folder, as the published processor reads it.

        Raises:
            StorageError: If it cannot be written.
        """
        more: dict[str, Any] = (
            {}
            if self.value_range is None
            else {_RANGE: self.value_range if self.value_range == BITS else list(self.value_range)}
        )
        if self.frame is not None:
            more[_FRAME] = self.frame
        BeitImageProcessor(
            size=size_to_dict(self.resize),
            resample=self.resample,
            crop_size=size_to_dict(self.image_hw),
            image_mean=list(self.mean),
            image_std=list(self.std),
            **more,
        ).save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read `preprocessor_config.json` of a model folder.

        Raises:
            ConfigError: If it is missing, not understood, or asks for other steps than these.
        """
        processor = BeitImageProcessor.from_pretrained(folder)
        steps = processor.steps
        size, mean, std = steps.size, steps.mean, steps.std
        cropped = steps.crop_hw or size
        if size is None or mean is None or std is None or steps.factor is None or abs(steps.factor * 255 - 1) > 1e-6:
            raise ConfigError(
                f"the processor of {folder} leaves out a step or scales in its own way ({steps}); expected resizing, "
                "division by 255 and normalising: set them as usual"
            )
        if not isinstance(cropped, tuple):
            raise ConfigError(f"the processor of {folder} makes pictures of any shape ({steps}); set a crop")
        mean, std = _three(mean), _three(std)
        other = processor.other_options
        span, frame = _range(other.get(_RANGE), folder), _frame(other.get(_FRAME), folder)
        return cls(cropped, size, mean, std, steps.resample, span, frame)


def _range(values: Any, folder: str | Path) -> Asked | None:
    """Return a range of values from a file.

    Raises:
        ConfigError: If it is none.
    """
    if values is None or values == BITS:
        return values
    if not isinstance(values, list | tuple) or [type(value) in (int, float) for value in values] != [True] * 2:
        raise ConfigError(
            f"{_RANGE} of {folder} is {shortened(values)}; expected two numbers, such as [0, 10000], or {BITS}: "
            "correct it"
        )
    return float(values[0]), float(values[1])


def _frame(value: Any, folder: str | Path) -> int | None:
    """Return the number of a frame from a file.

    Raises:
        ConfigError: If it is none.
    """
    if value is not None and (type(value) is not int or value < 0):
        raise ConfigError(f"{_FRAME} of {folder} is {shortened(value)}; expected a whole number from 0: correct it")
    return value


def _three(values: float | tuple[float, ...]) -> tuple[float, ...]:
    return values if isinstance(values, tuple) else (values,) * 3
