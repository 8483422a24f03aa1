"""From what is stored in a mask to the classes of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import DataError
from beit.image import IGNORED, explained

ClassMap = NDArray[np.uint8]  # (height, width): the class of every pixel, or IGNORED
Colour = tuple[int, int, int]
MOST_CLASSES = IGNORED
_UNKNOWN = -1
_IDS = 2**16  # masks have 8 or 16 bits

# Cityscapes: the 19 of its 34 label ids that are evaluated, in the order of their training ids.
CITYSCAPES = {label: index for index, label in enumerate((7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33))}


@dataclass(frozen=True)
class MaskIds:
    """How the numbers or colours in masks are to be read.

    Attributes:
        classes: Number of classes.
        reduce: Whether 0 stands for what is ignored, and every other number for the class one less (ADE20K).
        mapping: Class of each number, others are ignored; None: numbers are classes.
        ignored: Numbers, besides 255, that stand for no class.
        colours: Class of each colour, for masks in RGB; others are refused.
    """

    classes: int
    reduce: bool = False
    mapping: Mapping[int, int] | None = None
    ignored: frozenset[int] = field(default_factory=frozenset[int])
    colours: Mapping[Colour, int] | None = None

    def read(self, path: Path) -> ClassMap:
        """Return the classes in a mask file.

        Raises:
            DataError: If it is no picture, or has numbers or colours that stand for nothing.
        """
        with explained(path), Image.open(path) as image:
            image.load()
            return self.classes_of(image, path)

    def classes_of(self, image: Image.Image, name: object) -> ClassMap:
        """Return the classes in an opened mask; `name` is what to call it.

        Raises:
            DataError: If it has numbers or colours that stand for nothing.
        """
        if image.mode in ("RGB", "RGBA"):
            return self._of_colours(np.asarray(image.convert("RGB")), name)
        if image.mode not in ("1", "L", "P", "I", "I;16"):
            raise DataError(
                f"{name} is a picture of mode {image.mode}; expected a mask with one number per pixel: save it as PNG "
                "with 8 bits"
            )
        raw = np.asarray(image).astype(np.int64)
        if raw.size and not 0 <= raw.min() <= raw.max() < _IDS:
            raise DataError(f"{name} has numbers from {raw.min()} to {raw.max()}; expected 0 to {_IDS - 1}")
        found = self._table[raw]
        if (found == _UNKNOWN).any():
            strange = np.unique(raw[found == _UNKNOWN])
            raise DataError(f"{name} has the number {_listed(strange.tolist())}; expected {self._expected}")
        return found.astype(np.uint8)

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        """The class of every number that a mask may hold."""
        table = np.full(_IDS, _UNKNOWN if self.mapping is None else IGNORED, np.int16)
        if self.mapping is not None:
            table[list(self.mapping)] = list(self.mapping.values())
        else:
            first = int(self.reduce)
            table[first : first + self.classes] = np.arange(self.classes)
        table[[IGNORED, *self.ignored, *([0] if self.reduce else [])]] = IGNORED
        return table

    @property
    def _expected(self) -> str:
        first = int(self.reduce)
        rest = ", ".join(map(str, sorted({*self.ignored, IGNORED, *([0] if self.reduce else [])})))
        return (
            f"{first} to {first + self.classes - 1}, one for each of the {self.classes} classes, or {rest} for none: "
            "correct the mask, name further classes, or list the number under masks.ignored"
        )

    def _of_colours(self, pixels: NDArray[np.uint8], name: object) -> ClassMap:
        if self.colours is None:
            raise DataError(
                f"{name} has colours, and nothing tells their classes; expected one number per pixel: save it as a PNG "
                "of indices, or write 'red green blue' behind every name in the file of classes"
            )
        packed = _packed(pixels.astype(np.int64))
        known = {int(_packed(np.array(colour))): index for colour, index in self.colours.items()}
        values, places = np.unique(packed, return_inverse=True)
        strange = [value for value in values.tolist() if value not in known]
        if strange:
            shown = [(value >> 16, value >> 8 & 255, value & 255) for value in strange]
            raise DataError(
                f"{name} has the colour {_listed(shown)}, which is that of no class; expected one of "
                f"{_listed(list(self.colours))}: add it to the file of classes, with the name 'ignored' for none"
            )
        return np.array([known[value] for value in values.tolist()], np.uint8)[places].reshape(packed.shape)


def _packed(colours: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number for each colour (..., 3)."""
    return colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2]


def _listed(values: list[object] | list[int] | list[Colour]) -> str:
    return ", ".join(map(str, values[:5])) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
