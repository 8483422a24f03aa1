"""One interface to pictures, wherever they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import DataError
from beit.image import StoredPicture

Labels = NDArray[Any]  # int64 (P,) classes, or float32 (P, K): 0 and 1 for several labels, or numbers
LabelKind = Literal["class", "labels", "value"]


@dataclass(frozen=True)
class BrokenShard:
    """A file of many pictures that could not be opened, and why."""

    name: str
    reason: str


class ImageSource(ABC):
    """A numbered collection of pictures.

    Attributes:
        classes: Class names, or None for pictures without labels.
        labels: Class index (P,) of every picture, or None; (P, K) for several labels or numbers.
        label_kind: Which of these they are.
        shard_sizes: Numbers of pictures in the files that hold many each, in order; None if there are no such files.
        broken_shards: Those of these files that could not be opened; their pictures are not numbered.
        look_ahead: How many pictures before their turn to begin to fetch what holds them; 0 if all are at hand.
        exact_contents: Whether `contents` alone tells the collection from every other.
    """

    classes: list[str] | None = None
    labels: Labels | None = None
    label_kind: LabelKind = "class"
    shard_sizes: NDArray[np.int64] | None = None
    broken_shards: Sequence[BrokenShard] = ()
    look_ahead: int = 0
    exact_contents: bool = False

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

    def fetch(self, now: Iterable[int], soon: Iterable[int]) -> None:  # noqa: B027  # most collections are at hand
        """Have at hand what holds some pictures, and begin to fetch in the background what holds others.

        Raises:
            DataError: If it cannot be fetched.
        """


def open_source(path: str, min_side: int = 8) -> ImageSource:
    """Open a collection of pictures.

    Args:
        path: "digits:train" or "digits:test" (embedded); "hub:owner/name" with an optional ":split" and "@revision"; a
            `.parquet` or `.tar` file, a folder of such files, or a pattern such as `train-{000..099}.tar`; or a folder
            of pictures, in which folders are classes.
        min_side: Pictures with a shorter side, in pixels, count as broken.

    Raises:
        DataError: If there is nothing at `path`, or no pictures in it.
    """
    from beit.data.digits import DIGITS, DigitsSource
    from beit.data.folder import FolderSource, holds_pictures
    from beit.data.hub import open_hub
    from beit.data.hub_files import PREFIX
    from beit.data.places import COMPRESSED, is_pattern, matching, refuse_compressed

    if path in DIGITS:
        return DigitsSource(path)
    if path.partition(":")[0] == "digits" and not Path(path).exists():
        raise DataError(f"there is no embedded data {path!r}; expected one of {list(DIGITS)}")
    if path.startswith(PREFIX):
        return open_hub(path, min_side)
    if is_pattern(path):
        return _open_shards(matching(path), path, min_side)
    place = Path(path)
    if not place.exists():
        raise DataError(
            f"data path {path!r} does not exist; expected a folder of pictures, parquet or tar files, or hub:owner/name"
        )
    if place.is_file():
        return _open_shards([place], path, min_side)
    shards = sorted([*place.glob("*.parquet"), *place.glob("*.tar")])
    if any(shard.suffix == ".tar" for shard in shards) and holds_pictures(place):
        raise DataError(
            f"data path {path!r} holds pictures and tar files; name the tar files as {path.rstrip('/')}/*.tar, or move "
            "one of the two"
        )
    if shards:
        return _open_shards(shards, path, min_side)
    try:
        return FolderSource(place, min_side)
    except DataError:
        for compressed in sorted(entry for entry in place.iterdir() if entry.name.endswith(COMPRESSED)):
            refuse_compressed(compressed)
        raise


def _open_shards(shards: list[Path], path: str, min_side: int) -> ImageSource:
    from beit.data.parquet import ParquetSource
    from beit.data.parquet_folder import ParquetFolder
    from beit.data.places import COMPRESSED, refuse_compressed
    from beit.data.tar import TarSource

    kinds = sorted({shard.suffix or "plain" for shard in shards})
    if shards[0].name.endswith(COMPRESSED):
        refuse_compressed(shards[0])
    if kinds == [".parquet"]:
        return ParquetSource(shards[0], min_side) if len(shards) == 1 else ParquetFolder(shards, min_side)
    if kinds == [".tar"]:
        return TarSource(shards, min_side)
    one = f"is a {kinds[0]} file" if len(shards) == 1 else f"means {' and '.join(kinds)} files"
    raise DataError(f"data path {path!r} {one}; expected a folder, parquet files, or tar files")
