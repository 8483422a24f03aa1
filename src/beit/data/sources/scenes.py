"""Scenes as a collection: a folder of pictures, and one of label maps with the class of every pixel.

Legend: H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beit.data.sources.folder import FolderSource
from beit.data.sources.label_maps import ClassMap, LabelIds
from beit.data.sources.source import ImageSource
from beit.errors import DataError
from beit.image import Decoded, LazyPicture

_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Scene:
    """A picture, as yet undecoded, and its label map.

    Attributes:
        picture: The picture.
        map_path: The file of its label map.
        ids: How to read it.
    """

    picture: LazyPicture
    map_path: Path
    ids: LabelIds

    @property
    def height(self) -> int:
        """Height of the picture, in pixels."""
        return self.picture.height

    @property
    def width(self) -> int:
        """Width of the picture, in pixels."""
        return self.picture.width

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the picture, with one pixel for at most so many of the whole one in each direction."""
        return self.picture.decode(pixels_per_pixel)

    def label_map(self) -> ClassMap:
        """Return the class of every pixel (H, W).

        Raises:
            DataError: If it cannot be read, or is of another size than the picture.
        """
        classes_HW = self.ids.read(self.map_path)
        if classes_HW.shape != (self.height, self.width):
            height, width = classes_HW.shape
            raise DataError(
                f"{self.map_path} is {height} x {width} pixels and its picture {self.height} x {self.width}; expected "
                "one number per pixel of the picture: resize one of the two (label maps to the nearest pixel)"
            )
        return classes_HW


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

    Raises:
        DataError: If there are no pictures, or pictures without a label map.
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
    ) -> None:
        found = FolderSource(label_maps, 1, labelled=False)
        self._pictures = FolderSource(pictures, min_side, labelled=False)
        by_stem = {_stem(found.name(index), label_maps, map_suffix): found.name(index) for index in range(len(found))}
        stems = [_stem(self._pictures.name(index), pictures, picture_suffix) for index in range(len(self._pictures))]
        missing = [stem for stem in stems if stem not in by_stem]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise DataError(
                f"{len(missing)} of {len(stems)} pictures of {pictures} have no label map in {label_maps}: "
                f"{', '.join(missing[:_SHOWN])}{more}; expected the same names, but for the ending: add them, or name "
                "what else differs with label_maps.picture_suffix and label_maps.suffix"
            )
        self._label_maps = [Path(by_stem[stem]) for stem in stems]
        self._ids = ids
        self.classes = names

    def __len__(self) -> int:
        return len(self._label_maps)

    def name(self, index: int) -> str:
        """Return the path of the picture."""
        return self._pictures.name(index)

    def open(self, index: int) -> Scene:
        """Return the picture and its label map, both as yet undecoded."""
        return Scene(self._pictures.open(index), self._label_maps[index], self._ids)

    def contents(self) -> Iterator[str]:
        """Yield the relative path and the size of every picture, and the size of its label map."""
        for line, label_map in zip(self._pictures.contents(), self._label_maps, strict=True):
            yield f"{line} {label_map.stat().st_size if label_map.exists() else 'missing'}"


def _stem(path: str, folder: Path, suffix: str) -> str:
    return str(Path(path).relative_to(folder).with_suffix("")).removesuffix(suffix)
