"""Listing of the picture files below a folder, the same for training and prediction."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from beit.errors import DataError
from beit.image.formats import EXTENSIONS


def picture_files(folder: str | Path, endings: frozenset[str] = EXTENSIONS) -> list[Path]:
    """Return the picture files below a folder, in the order of their paths.

    Args:
        folder: The folder; what is hidden in it is left out, and links to other folders are followed.
        endings: Which files count, by their lower-case endings.

    Raises:
        DataError: If there are none.
    """
    found = sorted(Path(folder) / path for path in walk_pictures(folder, endings))
    if not found:
        raise DataError(f"there are no pictures in {folder}; expected endings such as {', '.join(sorted(endings))}")
    return found


def walk_pictures(folder: str | Path, endings: frozenset[str] = EXTENSIONS) -> Iterator[str]:
    """Yield the picture files below a folder in no order, by their paths inside it."""
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
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in endings:
                yield prefix + name
