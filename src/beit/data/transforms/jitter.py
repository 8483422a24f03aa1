"""Changes of brightness, contrast and saturation by a factor, of colours of 8 bits or more.

Legend: H x W pixels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance

from beit.errors import ConfigError
from beit.image import COLOURS, AnyPicture, Bands

Enhancer = type[ImageEnhance.Brightness] | type[ImageEnhance.Contrast] | type[ImageEnhance.Color]
ENHANCERS: tuple[Enhancer, ...] = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as Pillow has it


def enhanced(picture: AnyPicture, enhancer: Enhancer, factor: float) -> AnyPicture:
    """Return a picture in which one property is changed by a factor; 1 leaves it as it is.

    Raises:
        ConfigError: If it has other than three channels.
    """
    if not isinstance(picture, Bands):
        return enhancer(picture).enhance(factor)
    values_HWC = in_colour(picture).unit_array().transpose(1, 2, 0)
    grey_HW1 = (values_HWC @ _LUMA)[..., None]
    plain = {ImageEnhance.Brightness: 0.0, ImageEnhance.Contrast: grey_HW1.mean(), ImageEnhance.Color: grey_HW1}
    end = plain[enhancer]  # what a factor of 0 makes of the picture
    return Bands.of_array((end + factor * (values_HWC - end)).clip(0, 1))


def in_colour(picture: Bands) -> Bands:
    """Return a picture of three channels as it is.

    Raises:
        ConfigError: If it has others.
    """
    if len(picture) != COLOURS:
        raise ConfigError(
            f"a picture of {len(picture)} channels has no colours to change; expected no colour jitter and no "
            "RandAugment: set both to 0"
        )
    return picture


def in_eight_bits(picture: AnyPicture) -> Image.Image:
    """Return colours with 8 bits, on which the operations of RandAugment are defined.

    Raises:
        ConfigError: If it has other than three channels.
    """
    return in_colour(picture).shown() if isinstance(picture, Bands) else picture
