"""Label maps: files with the class of every pixel."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from beit.data.sources.source import still_there
from beit.errors import ConfigError, DataError, GoneError
from beit.files import read_regular
from beit.image import (
    IGNORED,
    MOST_BYTES,
    check_opacity,
    check_plain,
    deep_numbers,
    explained,
    is_deep,
    is_several,
    nodata_in,
    opened_picture,
    orientation_of,
)

logger = logging.getLogger("beit")

ClassMap = NDArray[np.uint8]  # (height, width): the class of every pixel, or IGNORED
Colour = tuple[int, int, int]
MOST_CLASSES = IGNORED
_UNKNOWN = -1
MOST_NUMBERS = 2**16  # label maps have 8 or 16 bits
_LOSSY = ("JPEG", "MPO")

# Cityscapes: the 19 of its 34 label ids that are evaluated, in the order of their training ids.
CITYSCAPES = {label: index for index, label in enumerate((7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33))}


@dataclass(frozen=True)
class LabelIds:
    """Meaning of the numbers or colours in label maps.

    Attributes:
        classes: Number of classes.
        reduce: Whether 0 stands for what is ignored, and every other number for the class one less (ADE20K).
        mapping: Class of each number, 255 too if it is there, others are ignored; None: numbers are classes.
        ignored: Numbers, besides 255, that stand for no class.
        colours: Class of each colour, for label maps in RGB, or in grey if all are grey; others are refused.

    Raises:
        ConfigError: If there are more classes than 8 bits hold beside 255.
    """

    classes: int
    reduce: bool = False
    mapping: Mapping[int, int] | None = None
    ignored: frozenset[int] = field(default_factory=frozenset[int])
    colours: Mapping[Colour, int] | None = None

    def __post_init__(self) -> None:
        """Refuse classes whose numbers would be those of others."""
        most = MOST_CLASSES - self.reduce  # which begins at 1, so that the last class would be 255
        if self.classes > most:
            raise ConfigError(
                f"there are {self.classes} classes of pixels; expected at most {most}, as 255 in a label map "
                "stands for no class: name a model of fewer"
            )

    def read(self, path: Path) -> ClassMap:
        """Return the classes in the file of a label map, turned by its own EXIF orientation if it has one.

        Raises:
            DataError: See `read_turned`.
            GoneError: See there.
        """
        return self.read_turned(path)[0]

    def read_turned(self, path: Path) -> tuple[ClassMap, int]:
        """Return the classes in the file of a label map, and the EXIF orientation of its own that it was turned from.

        Raises:
            DataError: If it is no picture, is compressed with losses, or has numbers or colours that stand for nothing.
            GoneError: If it has gone since it was listed.
        """
        with explained(path, GoneError), still_there(path):
            content = read_regular(path, MOST_BYTES)
        with explained(path), opened_picture(content) as image:
            if image.format in _LOSSY:
                raise DataError(
                    f"{path} is a JPEG, which blends the numbers of neighbouring pixels into others; expected a label "
                    "map as it was drawn: export it again as PNG"
                )
            if is_several(image):
                raise DataError(
                    f"{path} holds several pictures ({image.format}); expected one label map: save the one you mean by "
                    "itself"
                )
            if self.mapping is None and not self._in_grey(image):
                check_plain(image, path)
            if is_deep(image) and len(image.getbands()) > 1:  # of which Pillow keeps the upper 8 bits
                numbers = deep_numbers(image, content, path)
                with opened_picture(content) as again:
                    return self.classes_of(numbers, path), orientation_of(again)
            orientation = orientation_of(image)
            image.load()
            return self.classes_of(ImageOps.exif_transpose(image), path, nodata_in(image)), orientation

    def classes_of(self, image: Image.Image, name: object, nodata: float | None = None) -> ClassMap:
        """Return the classes in an opened label map.

        Args:
            image: The label map.
            name: What it is called in messages.
            nodata: The number that it declares for no measurement: no class, unless it is the number of one.

        Raises:
            DataError: If it has numbers or colours that stand for nothing.
        """
        if self._in_colours(image, name):
            return self._of_colours(np.asarray(image.convert("RGB")), name)
        if image.mode in ("LA", "RGB", "RGBA"):  # grey numbers with opacity, or three times
            check_opacity(image, name)
            image = image.getchannel(0)
        if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
            raise DataError(
                f"{name} is a picture of mode {image.mode}; expected a label map, one number per pixel: save it as PNG "
                "with 8 bits"
            )
        raw = np.asarray(image).astype(np.int64)
        if nodata is not None:
            raw = self._without(raw, nodata, name)
        if raw.size and not 0 <= raw.min() <= raw.max() < MOST_NUMBERS:
            raise DataError(f"{name} has numbers from {raw.min()} to {raw.max()}; expected 0 to {MOST_NUMBERS - 1}")
        found = self._table[raw]
        if (found == _UNKNOWN).any():
            strange = np.unique(raw[found == _UNKNOWN])
            raise DataError(f"{name} has the number {_listed(strange.tolist())}; expected {self._expected}")
        return found.astype(np.uint8)

    def _in_colours(self, image: Image.Image, name: object) -> bool:
        """Return whether the colours of a label map are looked up, rather than its numbers.

        Raises:
            DataError: If it is not clear.
        """
        if image.mode in ("RGB", "RGBA"):
            return self.colours is not None or not _is_grey(np.asarray(image.convert("RGB")))
        if self.colours is None:
            return False
        return self._in_palette(image, self.colours, name) if image.mode == "P" else self._in_grey(image)

    def _in_palette(self, image: Image.Image, colours: Mapping[Colour, int], name: object) -> bool:
        """Return whether the palette of a label map is of the classes' own colours.

        Raises:
            DataError: If it is, under other numbers than those of the classes, and has colours of no class too.
        """
        palette = [(red, green, blue) for red, green, blue in np.array(image.getpalette("RGB")).reshape(-1, 3).tolist()]
        if not any(colour in colours and not _is_grey(np.array(colour)) for colour in palette):
            return False
        used = [number for number in np.unique(np.asarray(image)).tolist() if number < len(palette)]
        strange = [palette[number] for number in used if palette[number] not in colours]
        other = [number for number in used if self._table[number] != colours.get(palette[number], self._table[number])]
        if strange and other:
            raise DataError(
                f"{name} has a palette in which {other[0]} is the colour {palette[other[0]]} of another class than "
                f"{other[0]}, and {_listed(strange)} is that of no class; expected colours of classes alone, or the "
                "numbers of classes: add the colours to the file of classes, with the name 'ignored' for none, or "
                "leave all colours out of it for numbers"
            )
        return not strange

    def _in_grey(self, image: Image.Image) -> bool:
        """Return whether the levels of grey of a label map are looked up as colours."""
        grey = self.colours is not None and all(red == green == blue for red, green, blue in self.colours)
        return grey and image.mode in ("1", "L", "LA")

    def _without(self, raw: NDArray[np.int64], nodata: float, name: object) -> NDArray[np.int64]:
        """Return numbers with that of what is ignored for another, unless this is the number of a class."""
        if self.mapping is not None or not (absent := raw == nodata).any():
            return raw
        if 0 <= nodata < MOST_NUMBERS and self._table[int(nodata)] not in (_UNKNOWN, IGNORED):
            _say_nodata(str(name), int(nodata), int(self._table[int(nodata)]))
            return raw
        return np.where(absent, IGNORED, raw)

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        """The class of every number that a label map may hold."""
        table = np.full(MOST_NUMBERS, _UNKNOWN if self.mapping is None else IGNORED, np.int16)
        if self.mapping is None:
            first = int(self.reduce)
            table[first : first + self.classes] = np.arange(self.classes)
        table[[IGNORED, *self.ignored, *([0] if self.reduce else [])]] = IGNORED
        if self.mapping is not None:  # last: what it says of 255 holds too
            table[list(self.mapping)] = list(self.mapping.values())
        return table

    @property
    def _expected(self) -> str:
        first = int(self.reduce)
        rest = ", ".join(map(str, sorted({*self.ignored, IGNORED, *([0] if self.reduce else [])})))
        return (
            f"{first} to {first + self.classes - 1}, one for each of the {self.classes} classes, or {rest} for none: "
            "correct the label map, name further classes, give each number its class with label_maps.mapping, or list "
            "it under label_maps.ignored"
        )

    def _of_colours(self, pixels: NDArray[np.uint8], name: object) -> ClassMap:
        if self.colours is None:
            raise DataError(
                f"{name} has colours, and their classes are unknown; expected one number per pixel: save it as a PNG "
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


_said = set[int]()  # numbers


def _say_nodata(name: str, nodata: int, number: int) -> None:
    """Say once of a number that it is a class, although a label map declares that it stands for no measurement."""
    if nodata not in _said:
        _said.add(nodata)
        logger.warning(
            "%s declares that %d stands for no measurement (GDAL_NODATA), and it is class %d; if it is none, set "
            "label_maps.ignored to [%d]", name, nodata, number, nodata,
        )  # fmt: skip


def _is_grey(colours: NDArray[np.uint8]) -> bool:
    """Return whether the channels of all colours (..., 3) are equal."""
    return bool((colours[..., :1] == colours).all())


def _packed(colours: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number for each colour (..., 3)."""
    return colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2]


def _listed(values: list[object] | list[int] | list[Colour]) -> str:
    return ", ".join(map(str, values[:5])) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
