"""Scenes as a collection: a folder of pictures, and one of label maps with the class of every pixel.

Legend: H x W pixels.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.folder import FolderSource
from beit.data.sources.label_maps import ClassMap, LabelIds
from beit.data.sources.source import ImageSource
from beit.errors import DataError
from beit.files import size_of
from beit.image import BandOptions, Decoded, LazyPicture

_SHOWN = 5  # names in a message

ExifChoice = Literal["auto", "turn", "keep"]
Turn = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
SIDEWAYS = (5, 6, 7, 8)
# For each EXIF orientation, what makes the stored picture upright.
TURNS: dict[int, Turn] = {
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}

logger = logging.getLogger("beit")
_turned: set[str] = set()  # folders whose label maps have been named


@dataclass(frozen=True)
class Scene:
    """A picture, as yet undecoded, and its label map.

    Attributes:
        picture: The picture.
        map_path: The file of its label map.
        ids: How to read it.
        exif: Whether it is turned by the EXIF orientation of the picture: "turn", "keep", or "auto", if it has the size
            of the unturned picture.
    """

    picture: LazyPicture
    map_path: Path
    ids: LabelIds
    exif: ExifChoice = "auto"

    @property
    def height(self) -> int:
        """Height of the picture, in pixels."""
        return self.picture.height

    @property
    def width(self) -> int:
        """Width of the picture, in pixels."""
        return self.picture.width

    @property
    def orientation(self) -> int:
        """EXIF orientation of the picture."""
        return self.picture.orientation

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the picture, with one pixel for at most so many of the whole one in each direction."""
        return self.picture.decode(pixels_per_pixel)

    def label_map(self) -> ClassMap:
        """Return the class of every pixel (H, W), turned like the picture where it has the size of the unturned one.

        Raises:
            DataError: If it cannot be read, or is of another size than the picture.
        """
        classes_HW, orientation = self.ids.read(self.map_path), self.orientation
        unturned = (self.width, self.height) if orientation in SIDEWAYS else (self.height, self.width)
        if orientation in TURNS and (self.exif == "turn" or (self.exif == "auto" and classes_HW.shape == unturned)):
            _say_turned(str(self.map_path.parent), self.map_path.name, orientation)
            classes_HW = np.ascontiguousarray(TURNS[orientation](classes_HW))
        if classes_HW.shape != (self.height, self.width):
            height, width = classes_HW.shape
            turned = f", turned upright by its EXIF orientation {orientation}," if orientation in TURNS else ""
            raise DataError(
                f"{self.map_path} is {height} x {width} pixels and its picture{turned} {self.height} x {self.width}; "
                "expected one number per pixel of the picture: draw the label map on this picture, or resize it to the "
                "nearest pixel if the picture was resized"
            )
        return classes_HW


def _say_turned(folder: str, name: str, orientation: int) -> None:
    """Name the first label map of a folder that is turned."""
    if folder not in _turned:
        _turned.add(folder)
        logger.warning(
            "label maps in %s are turned like their pictures, by the EXIF orientation of these (first: %s, orientation "
            "%d); if they are upright already, set label_maps.exif to keep", folder, name, orientation,
        )  # fmt: skip


class SceneFolder(ImageSource):
    """Pictures below one folder, each with a label map of the same relative path, but for its ending, below another.

    Args:
        pictures: Folder of pictures.
        label_maps: Folder of label maps.
        names: Of the classes.
        ids: How to read label maps.
        picture_suffix: What stands between the common part of a picture's name and its ending, such as _leftImg8bit.
        map_suffix: The same of a label map's name, such as _gtFine_labelIds.
        min_side: Pictures with a shorter side, in pixels, count as broken.
        exif: Whether label maps are turned by the EXIF orientation of their pictures.
        bands: Reading of pictures of other than three channels; None: as RGB.

    Raises:
        DataError: If there are no pictures, pictures without a label map, or two label maps of one name.
    """

    def __init__(
        self,
        pictures: Path,
        label_maps: Path,
        names: list[str],
        ids: LabelIds,
        picture_suffix: str = "",
        map_suffix: str = "",
        min_side: int = 8,
        exif: ExifChoice = "auto",
        bands: BandOptions | None = None,
    ) -> None:
        found = FolderSource(label_maps, 1, labelled=False)
        self._pictures = FolderSource(pictures, min_side, labelled=False, bands=bands)
        map_stems = [_stem(found.name(index), label_maps, map_suffix) for index in range(len(found))]
        _refuse_twice(map_stems, label_maps)
        by_stem = {stem: found.name(index) for index, stem in enumerate(map_stems)}
        stems = [_stem(self._pictures.name(index), pictures, picture_suffix) for index in range(len(self._pictures))]
        missing = [stem for stem in stems if stem not in by_stem]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise DataError(
                f"{len(missing)} of {len(stems)} pictures of {pictures} have no label map in {label_maps}: "
                f"{', '.join(missing[:_SHOWN])}{more}; expected the same names, but for the ending: add them, or name "
                "what else differs with label_maps.picture_suffix and label_maps.suffix"
            )
        if unused := sorted(by_stem.keys() - set(stems)):
            more = ", ..." * (len(unused) > _SHOWN)
            logger.warning(
                "%d of %d label maps in %s have no picture in %s and are left out: %s%s", len(unused), len(by_stem),
                label_maps, pictures, ", ".join(unused[:_SHOWN]), more,
            )  # fmt: skip
        self._label_maps = [Path(by_stem[stem]) for stem in stems]
        self._ids = ids
        self._exif: ExifChoice = exif
        self.classes, self.bands = names, bands

    def __len__(self) -> int:
        return len(self._label_maps)

    def name(self, index: int) -> str:
        """Return the path of the picture."""
        return self._pictures.name(index)

    def open(self, index: int) -> Scene:
        """Return the picture and its label map, both as yet undecoded."""
        return Scene(self._pictures.open(index), self._label_maps[index], self._ids, self._exif)

    def contents(self) -> Iterator[str]:
        """Yield the relative path and the size of every picture, and the size of its label map."""
        for line, label_map in zip(self._pictures.contents(), self._label_maps, strict=True):
            yield f"{line} {size_of(label_map)}"


def _stem(path: str, folder: Path, suffix: str) -> str:
    return str(Path(path).relative_to(folder).with_suffix("")).removesuffix(suffix)


def _refuse_twice(stems: list[str], folder: Path) -> None:
    stem, times = Counter(stems).most_common(1)[0]
    if times > 1:
        raise DataError(f"{folder} holds {times} label maps called {stem!r}; expected one for each picture: remove one")
