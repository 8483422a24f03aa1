"""Pictures in a folder; folders inside it are classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from beit.data.source import ImageSource
from beit.errors import DataError
from beit.image import EXTENSIONS, StoredPicture, explained, open_image


class FolderSource(ImageSource):
    """All pictures below a folder, in the order of their paths.

    If every picture lies in a folder inside it, the first-level folders are the classes; otherwise there are no labels.
    """

    def __init__(self, folder: Path, min_side: int = 8) -> None:
        self._folder = folder
        self._min_side = min_side
        self._paths = _pictures(folder)
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

    def open(self, index: int) -> StoredPicture:
        """Return the picture, as yet undecoded."""
        name = self.name(index)
        with explained(name):
            content = Path(name).read_bytes()
        return open_image(content, name, self._min_side)

    def contents(self) -> Iterator[str]:
        """Yield the relative path and the size of every file."""
        for path in self._paths:
            place = self._folder / path
            yield f"{path} {place.stat().st_size if place.exists() else 'missing'}"


def holds_pictures(folder: Path) -> bool:
    """Return whether there are pictures below a folder."""
    return next(_walk(folder), None) is not None


def _pictures(folder: Path) -> list[str]:
    """Return the relative paths of all pictures, sorted; links to folders are followed."""
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[str]:
    seen: set[str] = set()  # a link may lead back to where it stands
    for place, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(place, folder)
        prefix = "" if relative == "." else relative + os.sep
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                yield prefix + name
