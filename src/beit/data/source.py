"""One interface to pictures, wherever they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import DataError
from beit.image import StoredPicture

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class BrokenShard:
    """A file of many pictures that could not be opened, and why."""

    name: str
    reason: str


class ImageSource(ABC):
    """A numbered collection of pictures.

    Attributes:
        classes: Class names, or None for pictures without labels.
        labels: Class index of every picture, or None.
        shard_sizes: Numbers of pictures in the files that hold many each, in order; None if there are no such files.
        broken_shards: Those of these files that could not be opened; their pictures are not numbered.
    """

    classes: list[str] | None = None
    labels: Labels | None = None
    shard_sizes: NDArray[np.int64] | None = None
    broken_shards: Sequence[BrokenShard] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what to call a picture in messages, such as its path."""

    @abstractmethod
    def open(self, index: int) -> StoredPicture:
        """Return a picture, of which no more need be decoded than is used.

        Raises:
            DataError: If it is broken or too small.
        """

    def load(self, index: int) -> Image.Image:
        """Return a whole picture as RGB.

        Raises:
            DataError: If it is broken or too small.
        """
        return self.open(index).decode().picture

    def origin(self, index: int) -> int:
        """Return the picture's number in the collection that was opened, of which this may be a part."""
        return index

    @abstractmethod
    def contents(self) -> Iterator[str]:
        """Yield what tells that collection from others: a line for every file."""

    def fetch(self, indices: Iterable[int]) -> None:  # noqa: B027  # most collections have nothing to fetch
        """Begin to fetch, in the background, what holds these pictures: they are the next in the order of a run."""


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
