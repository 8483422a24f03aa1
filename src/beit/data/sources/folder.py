"""Folder of pictures as a collection, in which folders are classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from beit.data.sources.source import ImageSource
from beit.errors import DataError
from beit.files import read_regular
from beit.image import EXTENSIONS, MOST_BYTES, LazyPicture, explained, open_image, walk_pictures


class FolderSource(ImageSource):
    """All pictures below a folder, in the order of their paths.

    If every picture lies in a folder inside it, the first-level folders are the classes; otherwise there are no labels.
    """

    def __init__(self, folder: Path, min_side: int = 8) -> None:
        self._folder = folder
        self._min_side = min_side
        self._paths = sorted(walk_pictures(folder))  # text: of millions, paths would fill the memory
        if not self._paths:
            raise DataError(
                f"there are no pictures in {folder}; looked for files ending in {', '.join(sorted(EXTENSIONS))}"
            )
        parts = [path.split(os.sep) for path in self._paths]
        if all(len(part) > 1 for part in parts):
            self.classes = sorted({part[0] for part in parts})
            number = {name: index for index, name in enumerate(self.classes)}
            self.labels = np.array([number[part[0]] for part in parts], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        """Return the path."""
        return str(self._folder / self._paths[index])

    def open(self, index: int) -> LazyPicture:
        """Return the picture, as yet undecoded."""
        name = self.name(index)
        with explained(name):
            content = read_regular(name, MOST_BYTES)
        return open_image(content, name, self._min_side)

    def contents(self) -> Iterator[str]:
        """Yield the relative path and the size of every file."""
        for path in self._paths:
            place = self._folder / path
            yield f"{path} {place.stat().st_size if place.exists() else 'missing'}"


def holds_pictures(folder: Path) -> bool:
    """Return whether there are pictures below a folder."""
    return next(walk_pictures(folder), None) is not None
