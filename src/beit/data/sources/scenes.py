"""Scenes as a collection: a folder of pictures, and a folder of masks with the class of every pixel.

Legend: H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beit.data.sources.folder import FolderSource
from beit.data.sources.label_maps import ClassMap, MaskIds
from beit.data.sources.source import ImageSource
from beit.errors import DataError
from beit.image import Decoded, StoredPicture

_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Scene:
    """A picture, as yet undecoded, and its mask.

    Attributes:
        picture: The picture.
        mask_path: The file of its mask.
        ids: How to read it.
    """

    picture: StoredPicture
    mask_path: Path
    ids: MaskIds

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

    def mask(self) -> ClassMap:
        """Return the class of every pixel (H, W).

        Raises:
            DataError: If it cannot be read, or is of another size than the picture.
        """
        classes_HW = self.ids.read(self.mask_path)
        if classes_HW.shape != (self.height, self.width):
            height, width = classes_HW.shape
            raise DataError(
                f"{self.mask_path} is {height} x {width} pixels and its picture {self.height} x {self.width}; expected "
                "one number per pixel of the picture: resize one of the two (masks to the nearest pixel)"
            )
        return classes_HW


class SceneFolder(ImageSource):
    """Pictures below one folder, each with a mask of the same relative path, but for its ending, below another.

    Args:
        pictures: Folder of pictures.
        masks: Folder of masks.
        names: Of the classes.
        ids: How to read masks.
        picture_suffix: What stands between the common part of a picture's name and its ending, such as _leftImg8bit.
        mask_suffix: The same of a mask's name, such as _gtFine_labelIds.
        min_side: Pictures with a shorter side, in pixels, count as broken.

    Raises:
        DataError: If there are no pictures, or pictures without a mask.
    """

    def __init__(
        self,
        pictures: Path,
        masks: Path,
        names: list[str],
        ids: MaskIds,
        picture_suffix: str = "",
        mask_suffix: str = "",
        min_side: int = 8,
    ) -> None:
        found, self._pictures = FolderSource(masks, 1), FolderSource(pictures, min_side)
        by_stem = {_stem(found.name(index), masks, mask_suffix): found.name(index) for index in range(len(found))}
        stems = [_stem(self._pictures.name(index), pictures, picture_suffix) for index in range(len(self._pictures))]
        missing = [stem for stem in stems if stem not in by_stem]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise DataError(
                f"{len(missing)} of {len(stems)} pictures of {pictures} have no mask in {masks}: "
                f"{', '.join(missing[:_SHOWN])}{more}; expected masks of the same names, but for the ending: add them, "
                "or name what else differs with masks.picture_suffix and masks.mask_suffix"
            )
        self._masks = [Path(by_stem[stem]) for stem in stems]
        self._ids = ids
        self.classes = names

    def __len__(self) -> int:
        return len(self._masks)

    def name(self, index: int) -> str:
        """Return the path of the picture."""
        return self._pictures.name(index)

    def open(self, index: int) -> Scene:
        """Return the picture and its mask, both as yet undecoded."""
        return Scene(self._pictures.open(index), self._masks[index], self._ids)

    def contents(self) -> Iterator[str]:
        """Yield the relative path and the size of every picture, and the size of its mask."""
        for line, mask in zip(self._pictures.contents(), self._masks, strict=True):
            yield f"{line} {mask.stat().st_size if mask.exists() else 'missing'}"


def _stem(path: str, folder: Path, suffix: str) -> str:
    return str(Path(path).relative_to(folder).with_suffix("")).removesuffix(suffix)
