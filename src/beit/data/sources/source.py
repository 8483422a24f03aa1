"""Interface of collections of pictures, subsets of them, and their fingerprint."""

from __future__ import annotations

import errno
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import DataError, GoneError, shortened
from beit.image import BandOptions, LazyPicture, as_rgb

Labels = NDArray[Any]  # int64 (P,) classes, or float32 (P, K): 0 and 1 for several labels, or numbers
LabelKind = Literal["class", "labels", "value"]
_MOST_NAME = 1000  # characters of a class: an array gives every picture room for the longest
_SAMPLED = 256  # pictures whose pixels go into the fingerprint
_BACK = "bring it back, and the same command does the rest"
_GONE = dict.fromkeys((errno.ENOENT, errno.ENOTDIR), _BACK)
_AWAY = dict.fromkeys((errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT), _BACK)
_FULL = dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)")
_REMEDIES = _GONE | _AWAY | _FULL  # for what is no fault of a picture


@dataclass(frozen=True)
class BrokenShard:
    """A file of many pictures that could not be opened, and the reason."""

    name: str
    reason: str


@contextmanager
def still_there(path: str | Path) -> Generator[None]:
    """Keep a file that has gone since it was listed, or whose disk is away, from counting as a broken picture.

    Another would take its place, and the results would be those of other pictures.

    Raises:
        GoneError: Naming it.
    """
    try:
        yield
    except OSError as error:
        # a link to nothing may have been one when it was listed
        if error.errno not in _REMEDIES or (error.errno in _GONE and os.path.islink(path)):
            raise
        raise GoneError(
            f"{path} was there when it was listed and cannot be read any more ({error.strerror}); expected all "
            f"pictures to stay: {_REMEDIES[error.errno]}"
        ) from None


def check_name(name: str) -> None:
    """Refuse the name of a class that cannot be stored or printed.

    Raises:
        DataError: If it is empty or too long, or holds half a character (which JSON can spell) or a NUL, at which some
            would end it.
    """
    if not name.strip() or "\0" in name:
        raise DataError(f"the class {shortened(name)} is empty or holds a NUL; expected text: write its name again")
    if len(name) > _MOST_NAME:
        raise DataError(f"the class {shortened(name)} has {len(name)} characters; expected at most {_MOST_NAME}")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"the class {shortened(name)} holds half a character; expected UTF-8: write it again") from None


class ImageSource(ABC):
    """A numbered collection of pictures.

    Attributes:
        classes: Class names, or None for pictures without labels.
        labels: Class index (P,) of every picture, or None; (P, K) for several labels or numbers.
        label_kind: Which of these they are.
        shard_sizes: Numbers of pictures in the files that hold many each, in order; None if there are no such files.
        broken_shards: Those of these files that could not be opened; their pictures are not numbered.
        look_ahead: How many pictures before their turn to begin to fetch what holds them; 0 if all are at hand.
        exact_contents: Whether `contents` alone identifies the collection.
        bands: Reading of pictures of other than three channels; None: as RGB.
    """

    classes: list[str] | None = None
    labels: Labels | None = None
    label_kind: LabelKind = "class"
    shard_sizes: NDArray[np.int64] | None = None
    broken_shards: Sequence[BrokenShard] = ()
    look_ahead: int = 0
    exact_contents: bool = False
    bands: BandOptions | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the name of a picture for messages, such as its path."""

    @abstractmethod
    def open(self, index: int) -> LazyPicture:
        """Return a picture that is decoded only as far as it is used.

        Raises:
            DataError: If it is broken or too small.
            GoneError: If it has gone since it was listed.
        """

    def load(self, index: int) -> Image.Image:
        """Return a whole picture as RGB; of other channels what of them can be shown.

        Raises:
            DataError: If it is broken or too small.
        """
        return as_rgb(self.open(index).decode().picture)

    def origin(self, index: int) -> int:
        """Return the picture's number in the collection that was opened, of which this may be a part."""
        return index

    @abstractmethod
    def contents(self) -> Iterator[str]:
        """Yield lines that identify the collection: one for every file."""

    def sampled(self, most: int) -> list[str]:
        """Return lines that identify up to so many files, evenly spaced; unlike `contents` it looks at no others."""
        lines = list(self.contents())
        return [lines[index] for index in spaced(len(lines), most)]

    def fetch(self, now: Iterable[int], soon: Iterable[int]) -> None:  # noqa: B027  # most collections are at hand
        """Wait until the shards of some pictures are at hand, and begin to fetch those of others in the background.

        Raises:
            DataError: If it cannot be fetched.
        """


class Subset(ImageSource):
    """Some pictures of a source, renumbered."""

    def __init__(self, source: ImageSource, indices: NDArray[np.int64]) -> None:
        self._source = source
        self._indices = indices
        self.classes = source.classes
        self.labels = source.labels[indices] if source.labels is not None else None
        self.label_kind = source.label_kind
        self.shard_sizes = _chosen_per_shard(source.shard_sizes, indices)
        self.broken_shards = source.broken_shards
        self.look_ahead = source.look_ahead
        self.exact_contents = source.exact_contents
        self.bands = source.bands

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        """Return the name in the whole source."""
        return self._source.name(int(self._indices[index]))

    def open(self, index: int) -> LazyPicture:
        """Return the picture, as yet undecoded."""
        return self._source.open(int(self._indices[index]))

    def origin(self, index: int) -> int:
        """Return the number in the whole source."""
        return self._source.origin(int(self._indices[index]))

    def contents(self) -> Iterator[str]:
        """Yield the lines of the whole source."""
        return self._source.contents()

    def sampled(self, most: int) -> list[str]:
        """Return lines of the whole source."""
        return self._source.sampled(most)

    def fetch(self, now: Iterable[int], soon: Iterable[int]) -> None:
        """Wait until the shards of some pictures are at hand, and begin to fetch those of others."""
        self._source.fetch(self._indices[list(now)].tolist(), self._indices[list(soon)].tolist())


def _chosen_per_shard(sizes: NDArray[np.int64] | None, indices: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the number of chosen pictures of each shard; None if they are not in the order of the shards."""
    if sizes is None or np.any(indices[1:] < indices[:-1]):
        return None
    ends = np.searchsorted(indices, np.cumsum(sizes))
    return np.diff(ends, prepend=0).astype(np.int64)


def spaced(count: int, most: int) -> list[int]:
    """Return up to so many numbers below a count, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int)).tolist()


def fingerprint(source: ImageSource) -> str:
    """Return a SHA-256 that changes with the number, the order and the content of the pictures of a collection.

    It covers what the collection knows of every file (relative path and size), so that a moved folder keeps its hash
    and an exchanged file changes it, and the pixels of up to 256 evenly spaced pictures. A commit of the hub needs no
    pixels, but for how they are read.
    """
    digest = hashlib.sha256(str(len(source)).encode())
    for line in source.contents():
        digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
    if source.exact_contents:
        if source.bands is not None:
            digest.update(repr(source.bands).encode())
        return digest.hexdigest()
    for index in spaced(len(source), _SAMPLED):
        try:
            picture = source.open(index).decode().picture
        except DataError:
            digest.update(b"broken")
            continue
        digest.update(np.asarray(picture.size).tobytes() + picture.tobytes())
    return digest.hexdigest()
