"""Views of a picture, for the model and for the tokenizer.

Legend: C channels, H x W pixels of the model, h x w pixels of the tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from beit.data.transforms.augmentation import Augmentation, erased
from beit.data.transforms.rand_augment import augmented
from beit.image import Box, Preprocessing, StoredPicture, normalise, to_unit_array
from beit.image.arrays import Floats


@dataclass(frozen=True)
class Views:
    """One crop of a picture, for the model and for the tokenizer.

    Attributes:
        preprocessing: Size and normalisation of the model's view, and the crop of evaluation.
        augmentation: Random changes; None shows what evaluation sees.
        tokenizer_hw: Size of the tokenizer's view in pixels, or None for no such view.
    """

    preprocessing: Preprocessing
    augmentation: Augmentation | None = None
    tokenizer_hw: tuple[int, int] | None = None

    def __call__(self, stored: StoredPicture, rng: np.random.Generator) -> dict[str, Floats]:
        """Return pixel_values (C, H, W), normalised, and tokenizer_pixels (C, h, w) in [0, 1] of the same crop.

        The model's view is resampled by a bicubic filter and the tokenizer's by a Lanczos filter, as in the original
        code. Of a JPEG no more is decoded than a random crop needs; what evaluation sees is cut from the whole picture.
        """
        if self.augmentation is not None:
            changes = self.augmentation.draw(stored.height, stored.width, rng)
            picture, box = changes(stored.decode(self._spare_pixels(changes.box)), stored.width)
            operations = changes.operations
        else:
            operations = ()
            picture = stored.decode().picture
            box = self.preprocessing.box(picture.height, picture.width)
        mean, std = self.preprocessing.mean, self.preprocessing.std
        shown = _cut(picture, box, self.preprocessing.image_hw, Image.Resampling.BICUBIC)
        if operations:
            shown = augmented(shown, operations, tuple(min(255, round(255 * value)) for value in mean))
        pixels = normalise(to_unit_array(shown), mean, std)
        if self.augmentation is not None:
            pixels = erased(pixels, self.augmentation.erase, rng)
        views = {"pixel_values": pixels}
        if self.tokenizer_hw is not None:
            views["tokenizer_pixels"] = to_unit_array(_cut(picture, box, self.tokenizer_hw, Image.Resampling.LANCZOS))
        return views

    def _spare_pixels(self, box: Box) -> float:
        """Return how many pixels of a crop there are for one of the largest view, in the direction that has fewer."""
        shown = [self.preprocessing.image_hw, *([self.tokenizer_hw] if self.tokenizer_hw else [])]
        left, top, right, bottom = box
        return min((bottom - top) / max(hw[0] for hw in shown), (right - left) / max(hw[1] for hw in shown))


def _cut(picture: Image.Image, box: Box, size_hw: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    return picture.resize((size_hw[1], size_hw[0]), resample, box=box)
