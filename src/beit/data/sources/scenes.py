"""Scenes as a collection: a folder of pictures, and one of label maps with the class of every pixel.

Legend: H x W pixels.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.folder import FolderSource
from beit.data.sources.label_maps import ClassMap, LabelIds
from beit.data.sources.source import ImageSource, Subset, spaced
from beit.errors import DataError
from beit.files import end_of, size_of
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
            of the unturned picture and none of its own.
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

        One with an EXIF orientation of its own has been turned by it, and is not turned once more.

        Raises:
            DataError: If it cannot be read, or is of another size than the picture.
        """
        (classes_HW, own), orientation = self.ids.read_turned(self.map_path), self.orientation
        unturned = (self.width, self.height) if orientation in SIDEWAYS else (self.height, self.width)
        as_stored = own not in TURNS and classes_HW.shape == unturned
        if orientation in TURNS and (self.exif == "turn" or (self.exif == "auto" and as_stored)):
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

    Both may be one folder, in which label maps are those whose names end in their suffix.

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
        self._folder = pictures
        self._pictures: ImageSource = FolderSource(pictures, min_side, labelled=False, bands=bands)
        by_stem, others = _with_suffix(found, label_maps, map_suffix)
        if map_suffix and pictures.resolve() == label_maps.resolve():  # side by side: a.png and a_mask.png
            chosen = [at for at in range(len(self._pictures)) if not _has(self._pictures.name(at), map_suffix)]
            self._pictures, others = Subset(self._pictures, np.array(chosen, np.int64)), []
        stems = [_stem(self._pictures.name(index), pictures, picture_suffix) for index in range(len(self._pictures))]
        if missing := [stem for stem in stems if stem not in by_stem]:
            raise _no_label_map(pictures, label_maps, missing, len(stems), [*by_stem, *others])
        if unused := sorted([*(by_stem.keys() - set(stems)), *others]):
            more = ", ..." * (len(unused) > _SHOWN)
            logger.warning(
                "%d of %d label maps in %s have no picture in %s and are left out: %s%s", len(unused),
                len(by_stem) + len(others), label_maps, pictures, ", ".join(unused[:_SHOWN]), more,
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
        for index, label_map in enumerate(self._label_maps):
            picture = self.name(index)
            yield f"{os.path.relpath(picture, self._folder)} {size_of(Path(picture))} {size_of(label_map)}"

    def sampled(self, most: int) -> list[str]:
        """Return the relative path of some pictures, and size and a hash of the end of each and of its label map."""
        chosen = [(Path(self.name(index)), self._label_maps[index]) for index in spaced(len(self), most)]
        return [f"{os.path.relpath(one, self._folder)} {end_of(one)} {end_of(other)}" for one, other in chosen]


def _with_suffix(source: ImageSource, folder: Path, suffix: str) -> tuple[dict[str, str], list[str]]:
    """Return the files whose names end in a suffix by what stands before it, and the others' names.

    Raises:
        DataError: If two are of one name.
    """
    files = [source.name(index) for index in range(len(source))]
    named = [(_stem(file, folder, suffix), file) for file in files if _has(file, suffix)]
    stem, times = Counter(stem for stem, _ in named).most_common(1)[0] if named else ("", 0)
    if times > 1:
        raise DataError(f"{folder} holds {times} label maps called {stem!r}; expected one for each picture: remove one")
    return dict(named), [_stem(file, folder, "") for file in files if not _has(file, suffix)]


def _no_label_map(
    pictures: Path, label_maps: Path, missing: Sequence[str], count: int, there: Sequence[str]
) -> DataError:
    """Return the error for pictures without a label map, with the suffix that would find one for the first of them."""
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    longer = sorted((stem for stem in there if stem.startswith(missing[0]) and stem != missing[0]), key=len)
    suffix = f", of which {longer[0]!r} would have {longer[0].removeprefix(missing[0])!r}" if longer else ""
    return DataError(
        f"{len(missing)} of {count} pictures of {pictures} have no label map in {label_maps}: "
        f"{', '.join(missing[:_SHOWN])}{more}; expected the same names, but for the ending: name what else differs "
        f"with label_maps.picture_suffix and label_maps.suffix{suffix}, add them, or name a folder without these "
        "pictures"
    )


def _has(path: str, suffix: str) -> bool:
    return os.path.splitext(path)[0].endswith(suffix)


def _stem(path: str, folder: Path, suffix: str) -> str:
    return str(Path(path).relative_to(folder).with_suffix("")).removesuffix(suffix)
