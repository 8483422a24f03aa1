"""RandAugment (arXiv 1909.13719) with the "increasing" operations and random magnitudes of timm.

`rand-m9-mstd0.5-inc1`, which the published fine-tuning uses, is two operations of magnitude 9 with deviation 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Colour = tuple[int, ...]
_MOST = 10.0  # the magnitude at which an operation is as strong as it gets
_APPLIED = 0.5  # probability with which a chosen operation is applied at all
_SOLARIZED = 128  # solarize_add leaves brighter values alone
_BICUBIC = Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Operation:
    """A change of a picture.

    Attributes:
        argument: Its argument from the strength in [0, 1] and whether the sign is turned.
        change: The change: picture, argument, colour of what comes in from outside.
    """

    argument: Callable[[float, bool], float]
    change: Callable[[Image.Image, float, Colour], Image.Image]


def _none(_strength: float, _turned: bool) -> float:
    return 0.0


def _signed(most: float) -> Callable[[float, bool], float]:
    return lambda strength, turned: (-most if turned else most) * strength


def _factor(strength: float, turned: bool) -> float:
    """Return a factor of enhancement, away from 1, which changes nothing, to either side."""
    return max(0.1, 1 + (-0.9 if turned else 0.9) * strength)


def _affine(*matrix: float) -> Callable[[Image.Image, Colour], Image.Image]:
    return lambda picture, fill: picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, resample=_BICUBIC, fillcolor=fill
    )


def _posterize(picture: Image.Image, bits: int) -> Image.Image:
    """Keep the highest bits; the strongest keeps none, which `ImageOps.posterize` refuses."""
    kept = 256 - 2 ** (8 - bits)
    return picture.point([value & kept for value in range(256)] * len(picture.getbands()))


def _solarize_add(picture: Image.Image, amount: int) -> Image.Image:
    table = [min(255, value + amount) if value < _SOLARIZED else value for value in range(256)]
    return picture.point(table * len(picture.getbands()))


# timm/data/auto_augment.py, `_RAND_INCREASING_TRANSFORMS`: the higher the magnitude, the further from the picture
OPERATIONS: dict[str, Operation] = {
    "auto_contrast": Operation(_none, lambda picture, _, fill: ImageOps.autocontrast(picture)),
    "equalize": Operation(_none, lambda picture, _, fill: ImageOps.equalize(picture)),
    "invert": Operation(_none, lambda picture, _, fill: ImageOps.invert(picture)),
    "rotate": Operation(_signed(30), lambda picture, angle, fill: picture.rotate(angle, _BICUBIC, fillcolor=fill)),
    "posterize": Operation(
        lambda strength, _: 4 - int(strength * 4), lambda picture, bits, fill: _posterize(picture, int(bits))
    ),
    "solarize": Operation(
        lambda strength, _: 256 - int(strength * 256),
        lambda picture, least, fill: ImageOps.solarize(picture, int(least)),
    ),
    "solarize_add": Operation(
        lambda strength, _: int(strength * 110), lambda picture, amount, fill: _solarize_add(picture, int(amount))
    ),
    "color": Operation(_factor, lambda picture, factor, fill: ImageEnhance.Color(picture).enhance(factor)),
    "contrast": Operation(_factor, lambda picture, factor, fill: ImageEnhance.Contrast(picture).enhance(factor)),
    "brightness": Operation(_factor, lambda picture, factor, fill: ImageEnhance.Brightness(picture).enhance(factor)),
    "sharpness": Operation(_factor, lambda picture, factor, fill: ImageEnhance.Sharpness(picture).enhance(factor)),
    "shear_x": Operation(_signed(0.3), lambda picture, by, fill: _affine(1, by, 0, 0, 1, 0)(picture, fill)),
    "shear_y": Operation(_signed(0.3), lambda picture, by, fill: _affine(1, 0, 0, by, 1, 0)(picture, fill)),
    "translate_x": Operation(
        _signed(0.45), lambda picture, share, fill: _affine(1, 0, share * picture.width, 0, 1, 0)(picture, fill)
    ),
    "translate_y": Operation(
        _signed(0.45), lambda picture, share, fill: _affine(1, 0, 0, 0, 1, share * picture.height)(picture, fill)
    ),
}
_NAMES = tuple(OPERATIONS)


@dataclass(frozen=True)
class RandAugment:
    """Number and strength of the operations drawn for a picture.

    Attributes:
        operations: Drawn per picture, with replacement; each is then applied with probability 0.5.
        magnitude: Mean magnitude, from 0 to 10.
        magnitude_std: Its standard deviation; what is drawn is clipped to 0 to 10.
    """

    operations: int = 2
    magnitude: float = 9.0
    magnitude_std: float = 0.5

    def draw(self, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
        """Return names of operations and their arguments.

        Drawn in this order, four numbers for each operation whether it is applied or not: which, if at all, magnitude,
        sign.
        """
        drawn: list[tuple[str, float]] = []
        for _ in range(self.operations):
            name = _NAMES[int(rng.integers(len(_NAMES)))]
            applied = rng.random() < _APPLIED
            magnitude = min(max(rng.normal(self.magnitude, self.magnitude_std), 0.0), _MOST)
            turned = bool(rng.random() < 0.5)
            if applied:
                drawn.append((name, OPERATIONS[name].argument(magnitude / _MOST, turned)))
        return tuple(drawn)


def augmented(picture: Image.Image, drawn: tuple[tuple[str, float], ...], fill: Colour) -> Image.Image:
    """Return a picture after some operations; `fill` is the colour of what comes in from outside."""
    for name, argument in drawn:
        picture = OPERATIONS[name].change(picture, argument, fill)
    return picture
