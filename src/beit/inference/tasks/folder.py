"""Folder of pictures that an option names: read in the order of their paths, broken ones named and left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from beit.errors import DataError
from beit.image import picture_files, read_image

AMONG = "Folder of pictures: those in which neighbours are searched, or whose patches share the colours of one PCA."

logger = logging.getLogger("beit")


def files_in(folder: str) -> list[Path]:
    """Return the picture files below a folder, in the order of their paths.

    Raises:
        DataError: If it is no folder, or has none.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder} is no folder; expected one of pictures for --among")
    return picture_files(folder)


def pictures_in(folder: str) -> Iterator[tuple[Path, Image.Image]]:
    """Yield the pictures with their files.

    Raises:
        DataError: If there is none that can be read.
    """
    usable = False
    for path in files_in(folder):
        try:
            picture = read_image(path)
        except DataError as error:
            logger.warning("left out of --among: %s", error)
            continue
        usable = True
        yield path, picture
    if not usable:
        raise DataError(f"no picture in {folder} can be read; expected one at least for --among")


def contents_of(folder: str) -> Iterator[str]:
    """Yield a line for every picture, which identifies it."""
    for path in files_in(folder):
        yield f"{path} {path.stat().st_size}"
