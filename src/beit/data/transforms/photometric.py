"""Photometric distortion of street scenes and rooms: brightness, contrast, saturation and hue, each half of the time.

Source: Liu et al., SSD (arXiv 1512.02325, section 2.2), as the published segmentation runs use it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
_BRIGHTNESS = 32.0  # of 255
_FACTORS = (0.5, 1.5)  # of contrast and saturation
_HUE = 18.0 / 180  # of the circle of hues, which Pillow divides into 256


@dataclass(frozen=True)
class Distortion:
    """Changes of the colours of one picture, as they were drawn; None leaves a property alone.

    Attributes:
        brightness: Added to every value, of 255.
        contrast: Factor on every value.
        contrast_first: Whether contrast changes before saturation and hue, or after.
        saturation: Factor.
        hue: Turn, as a share of the circle.
    """

    brightness: float | None
    contrast: float | None
    contrast_first: bool
    saturation: float | None
    hue: float | None

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Distortion:
        """Return a random distortion; the same numbers are drawn whatever is chosen."""
        chosen = rng.random(5) < 0.5
        brightness, hue = rng.uniform(-_BRIGHTNESS, _BRIGHTNESS), rng.uniform(-_HUE, _HUE)
        contrast, saturation = rng.uniform(*_FACTORS, size=2)
        return cls(
            brightness if chosen[0] else None,
            contrast if chosen[1] else None,
            bool(chosen[2]),
            saturation if chosen[3] else None,
            hue if chosen[4] else None,
        )

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Return the changed RGB picture; values stop at 0 and 255 after every change."""
        if self.brightness is not None:
            picture = _changed(picture, 1.0, self.brightness)
        if self.contrast is not None and self.contrast_first:
            picture = _changed(picture, self.contrast, 0.0)
        if self.saturation is not None or self.hue is not None:
            picture = _turned(picture, self.saturation or 1.0, self.hue or 0.0)
        if self.contrast is not None and not self.contrast_first:
            picture = _changed(picture, self.contrast, 0.0)
        return picture


def _changed(picture: Image.Image, factor: float, offset: float) -> Image.Image:
    table = np.clip(np.arange(256) * factor + offset, 0, 255).astype(np.uint8).tolist()
    return picture.point(table * 3)


def _turned(picture: Image.Image, saturation: float, hue: float) -> Image.Image:
    hues, saturations, values = picture.convert("HSV").split()
    hues = hues.point([round(level + 256 * hue) % 256 for level in range(256)])
    saturations = saturations.point([min(255, round(level * saturation)) for level in range(256)])
    return Image.merge("HSV", (hues, saturations, values)).convert("RGB")
