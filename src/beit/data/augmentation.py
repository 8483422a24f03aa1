"""Random changes of a picture: crop, flip, colour jitter."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
from PIL import Image, ImageEnhance

from beit.image import Box

_CROP_ATTEMPTS = 10


@dataclass(frozen=True)
class Augmentation:
    """What to vary, and how much.

    Attributes:
        crop_scale: Range of the crop's share of the picture's area.
        crop_aspect: Range of the crop's width over height, log-uniform.
        flip: Probability of a horizontal flip.
        color_jitter: Strength of changes in brightness, contrast and saturation: factors from 1 - x to 1 + x.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    color_jitter: float = 0.0

    def __call__(self, picture: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Box]:
        """Return the changed picture, whole, and the crop box to cut from it."""
        picture = _jittered(picture, self.color_jitter, rng)
        if rng.random() < self.flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return picture, random_crop(picture.height, picture.width, self.crop_scale, self.crop_aspect, rng)


def random_crop(
    height: int, width: int, scale: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> Box:
    """Return a random box of the given area share and aspect ratio; the whole centre if none fits in ten attempts.

    Source: Inception-style cropping (arXiv 1409.4842) as torchvision and the original BEiT code do it.
    """
    for _ in range(_CROP_ATTEMPTS):
        area = height * width * rng.uniform(*scale)
        ratio = exp(rng.uniform(log(aspect[0]), log(aspect[1])))
        crop_width, crop_height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top, left = int(rng.integers(height - crop_height + 1)), int(rng.integers(width - crop_width + 1))
            return left, top, left + crop_width, top + crop_height
    ratio = min(max(width / height, aspect[0]), aspect[1])
    crop_width, crop_height = min(width, height * ratio), min(height, width / ratio)
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return left, top, left + crop_width, top + crop_height


def _jittered(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Change brightness, contrast and saturation by random factors, in random order."""
    if strength == 0:
        return picture
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for choice in rng.permutation(len(enhancers)):
        factor = float(rng.uniform(max(0.0, 1 - strength), 1 + strength))
        picture = enhancers[choice](picture).enhance(factor)
    return picture
