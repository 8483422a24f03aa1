"""Views of a picture, for the model and for the tokenizer.

Legend: C channels, H x W pixels of the model, h x w pixels of the tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
from PIL import Image

from beit.data.transforms.affine import Affine, AffineRange
from beit.data.transforms.jitter import ENHANCERS, Enhancer, enhanced, in_eight_bits
from beit.data.transforms.rand_augment import RandAugment, augmented
from beit.image import AnyPicture, Box, Decoded, LazyPicture, Preprocessing, normalise, to_unit_array
from beit.image.steps import Floats

_ATTEMPTS = 10  # at a crop, or at a box to erase
_ERASED_AREA = (0.02, 1 / 3)
_LEAST_ERASED_ASPECT = 0.3


@dataclass(frozen=True)
class Augmentation:
    """Strength of every random change.

    Attributes:
        crop_scale: Range of the crop's share of the picture's area.
        crop_aspect: Range of the crop's width over height, log-uniform.
        flip: Probability of a horizontal flip.
        color_jitter: Strength of changes in brightness, contrast and saturation: factors from 1 - x to 1 + x.
        rand_augment: Further operations on what was cut out, or None.
        erase: Probability that a box of the normalised picture is erased.
        affine: Turn, slant and shift of the crop, or None; the tokenizer's view has the same.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    color_jitter: float = 0.0
    rand_augment: RandAugment | None = None
    erase: float = 0.0
    affine: AffineRange | None = None

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Changes:
        """Return random changes of a picture of that size, which need not be decoded yet.

        Drawn in this order: colour jitter, flip, crop, affine change, RandAugment. Erasing draws last, once the pixels
        are there.
        """
        jitter = _random_jitter(self.color_jitter, rng)
        flip = bool(rng.random() < self.flip)
        box = random_crop(height, width, self.crop_scale, self.crop_aspect, rng)
        affine = self.affine.draw(rng) if self.affine is not None else None
        operations = self.rand_augment.draw(rng) if self.rand_augment is not None else ()
        return Changes(jitter, flip, box, operations, affine)


@dataclass(frozen=True)
class Changes:
    """Changes of one picture, as they were drawn.

    Attributes:
        jitter: Changes of colour with their factors, in the order in which they are made.
        flip: Whether it is flipped from left to right.
        box: What is then cut from it, in pixels of the whole flipped picture.
        operations: What RandAugment then does with the model's view: names and arguments.
        affine: Change of both views while they are cut out, or None.
    """

    jitter: tuple[tuple[Enhancer, float], ...]
    flip: bool
    box: Box
    operations: tuple[tuple[str, float], ...] = ()
    affine: Affine | None = None

    def __call__(self, decoded: Decoded, width: int) -> tuple[AnyPicture, Box]:
        """Return the changed picture, and the box to cut from it; `width` is that of the whole picture."""
        picture = decoded.picture
        for enhancer, factor in self.jitter:
            picture = enhanced(picture, enhancer, factor)
        changed = Decoded(picture, decoded.extent)
        if self.flip:
            changed = changed.mirrored(width)
        return changed.picture, changed.box(self.box)


def random_crop(
    height: int, width: int, scale: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> Box:
    """Return a random box of the given area share and aspect ratio; the whole centre if none fits in ten attempts.

    Source: Inception-style cropping (arXiv 1409.4842) as torchvision and the original BEiT code do it.
    """
    for _ in range(_ATTEMPTS):
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


def _random_jitter(strength: float, rng: np.random.Generator) -> tuple[tuple[Enhancer, float], ...]:
    """Return changes of brightness, contrast and saturation by random factors, in random order."""
    if strength == 0:
        return ()
    least, most = max(0.0, 1 - strength), 1 + strength
    return tuple((ENHANCERS[choice], float(rng.uniform(least, most))) for choice in rng.permutation(len(ENHANCERS)))


def erased(pixels_CHW: Floats, probability: float, rng: np.random.Generator) -> Floats:
    """Return a normalised picture, with the given probability with one box of standard normal noise in it.

    The box has 2 % to a third of the area and an aspect ratio from 0.3 to 1/0.3, log-uniform; none if no box of ten
    fits. Drawn in this order: if at all; area and aspect of each attempt; top, left; the noise.

    Source: random erasing (arXiv 1708.04896), timm's `RandomErasing` in the mode "pixel", as the original fine-tuning
    uses it.
    """
    if probability == 0 or rng.random() >= probability:
        return pixels_CHW
    channels, height, width = pixels_CHW.shape
    for _ in range(_ATTEMPTS):
        area = height * width * rng.uniform(*_ERASED_AREA)
        aspect = exp(rng.uniform(log(_LEAST_ERASED_ASPECT), -log(_LEAST_ERASED_ASPECT)))
        rows, columns = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if rows < height and columns < width:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            changed = pixels_CHW.copy()
            noise = rng.standard_normal((channels, rows, columns), dtype=np.float32)
            changed[:, top : top + rows, left : left + columns] = noise
            return changed
    return pixels_CHW


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

    def __call__(self, stored: LazyPicture, rng: np.random.Generator) -> dict[str, Floats]:
        """Return pixel_values (C, H, W), normalised, and tokenizer_pixels (C, h, w) in [0, 1] of the same crop.

        The model's view is resampled by a bicubic filter and the tokenizer's by a Lanczos filter, as in the original
        code; an affine change is bicubic in both. Of a JPEG no more is decoded than a random crop needs; what
        evaluation sees is cut from the whole picture.
        """
        if self.augmentation is not None:
            changes = self.augmentation.draw(stored.height, stored.width, rng)
            picture, box = changes(stored.decode(self.spare_pixels(changes.box)), stored.width)
            operations, cut = changes.operations, changes.affine.cut if changes.affine is not None else _cut
        else:
            operations, cut = (), _cut
            picture = stored.decode().picture
            box = self.preprocessing.box(picture.height, picture.width)
        mean, std = self.preprocessing.mean, self.preprocessing.std
        shown = cut(picture, box, self.preprocessing.image_hw, Image.Resampling.BICUBIC)
        if operations:
            shown = augmented(in_eight_bits(shown), operations, tuple(min(255, round(255 * value)) for value in mean))
        pixels = normalise(to_unit_array(shown), mean, std)
        if self.augmentation is not None:
            pixels = erased(pixels, self.augmentation.erase, rng)
        views = {"pixel_values": pixels}
        if self.tokenizer_hw is not None:
            views["tokenizer_pixels"] = to_unit_array(cut(picture, box, self.tokenizer_hw, Image.Resampling.LANCZOS))
        return views

    def spare_pixels(self, box: Box) -> float:
        """Return the pixels of a crop per pixel of the largest view, in the direction that has fewer."""
        shown = [self.preprocessing.image_hw, *([self.tokenizer_hw] if self.tokenizer_hw else [])]
        left, top, right, bottom = box
        return min((bottom - top) / max(hw[0] for hw in shown), (right - left) / max(hw[1] for hw in shown))


def _cut(picture: AnyPicture, box: Box, size_hw: tuple[int, int], resample: Image.Resampling) -> AnyPicture:
    return picture.resize((size_hw[1], size_hw[0]), resample, box=box)


class ExactView(Views):
    """View that is equal to the image processor's output, to the bit: resize and crop in two steps, by its filter."""

    def __call__(self, stored: LazyPicture, rng: np.random.Generator) -> dict[str, Floats]:
        """Return pixel_values (C, H, W); nothing is random, so `rng` is not used."""
        return {"pixel_values": self.preprocessing(stored.decode().picture)}
