"""Folder of pictures that an option names: read in the order of their paths, broken ones named and left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from beit.errors import DataError
from beit.files import file_lines
from beit.image import COLOURS, AnyPicture, BandOptions, endings_of, picture_files, read_picture

AMONG = "Folder of pictures: those in which neighbours are searched, or whose patches share the colours of one PCA."

logger = logging.getLogger("beit")


def files_in(folder: str, bands: BandOptions | None = None) -> list[Path]:
    """Return the picture files below a folder, in the order of their paths; `bands` as for `read_picture`.

    Raises:
        DataError: If it is no folder, or has none.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder} is no folder; expected one of pictures for --among")
    return picture_files(folder, endings_of(bands))


def pictures_in(folder: str, bands: BandOptions | None = None) -> Iterator[tuple[Path, AnyPicture]]:
    """Yield the pictures with their files; `bands` as for `read_picture`.

    Raises:
        DataError: If there is none that can be read.
    """
    usable = False
    for path in files_in(folder, bands):
        try:
            picture = read_picture(path, bands=bands)
        except DataError as error:
            logger.warning("left out of --among: %s", error)
            continue
        usable = True
        yield path, picture
    if not usable:
        raise DataError(f"no picture in {folder} can be read; expected one at least for --among")


def contents_of(folder: str) -> Iterator[str]:
    """Return a line for every picture, which identifies it; arrays may be some."""
    return file_lines(files_in(folder, BandOptions(COLOURS)))
