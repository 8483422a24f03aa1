"""One interface to pictures, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import DataError

Labels = NDArray[np.int64]


class ImageSource(Protocol):
    """A numbered collection of pictures.

    Attributes:
        classes: Class names, or None for pictures without labels.
        labels: Class index of every picture, or None.
    """

    @property
    def classes(self) -> list[str] | None:
        """Class names, or None for pictures without labels."""
        ...

    @property
    def labels(self) -> Labels | None:
        """Class index of every picture, or None."""
        ...

    def __len__(self) -> int:
        """Return the number of pictures."""
        ...

    def name(self, index: int) -> str:
        """Return what to call a picture in messages, such as its path."""
        ...

    def load(self, index: int) -> Image.Image:
        """Return a picture as RGB.

        Raises:
            DataError: If it is broken or too small.
        """
        ...

    def origin(self, index: int) -> int:
        """Return the picture's number in the collection that was opened, of which this may be a part."""
        ...

    def contents(self) -> Iterator[str]:
        """Yield what tells that collection from others: a line for every file."""
        ...


def open_source(path: str, min_side: int = 8) -> ImageSource:
    """Open a collection of pictures.

    Args:
        path: "digits:train" or "digits:test" (embedded), a `.parquet` file or a folder of them, or a folder of
            pictures; folders inside it are classes.
        min_side: Pictures with a shorter side, in pixels, count as broken.

    Raises:
        DataError: If there is nothing at `path`, or no pictures in it.
    """
    from beit.data.digits import DIGITS, DigitsSource
    from beit.data.folder import FolderSource
    from beit.data.parquet import ParquetSource

    if path in DIGITS:
        return DigitsSource(path)
    if path.startswith("digits"):
        raise DataError(f"there is no embedded data {path!r}; expected one of {list(DIGITS)}")
    place = Path(path)
    if not place.exists():
        raise DataError(f"data path {path!r} does not exist; expected a folder of pictures or a parquet file")
    if place.suffix == ".parquet":
        return ParquetSource([place], min_side)
    if place.is_file():
        raise DataError(f"data path {path!r} is a {place.suffix or 'plain'} file; expected a folder or a parquet file")
    shards = sorted(place.glob("*.parquet"))
    return ParquetSource(shards, min_side) if shards else FolderSource(place, min_side)
