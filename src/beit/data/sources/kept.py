"""Decoded pictures of a small collection, kept in memory: a picture is decoded once, and not in every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.data.sources.progress import progress
from beit.data.sources.source import ImageSource, spaced
from beit.errors import DataError
from beit.image import COLOURS, Decoded, Jpeg2000Picture, JpegPicture, LazyPicture, LoadedPicture, reduces

_REDUCIBLE = (JpegPicture, Jpeg2000Picture)
_SAMPLED = 64  # pictures whose size stands for that of all


class KeptPictures(ImageSource):
    """The pictures of a source as it decodes them, in one block of memory that forked processes share.

    Broken ones are asked of the source again, which says why, and so are deep ones (more than 8 bits) and those with
    overviews.

    Args:
        source: RGB pictures that are at hand.
        most_bytes: Memory that they may take.

    Attributes:
        unkept: Number of pictures that are decoded anew, other than broken ones.

    Raises:
        MemoryError: If they need more.
    """

    def __init__(self, source: ImageSource, most_bytes: int) -> None:
        self._source = source
        self.classes, self.labels, self.label_kind = source.classes, source.labels, source.label_kind
        self.shard_sizes, self.broken_shards = source.shard_sizes, source.broken_shards
        self.exact_contents = source.exact_contents
        self._sizes = np.zeros((len(source), 2), np.int32)  # height and width; 0 of a broken picture
        self._orientations = np.ones(len(source), np.uint8)
        self._reducible = np.zeros(len(source), bool)  # of which a decoder may leave out the finer parts
        self.unkept = 0
        self._pixels = bytearray()
        for index in progress(range(len(source)), len(source), "decoding pictures"):
            self._keep(index)
            if len(self._pixels) > most_bytes:
                raise MemoryError(f"the pictures take more than {most_bytes:,} bytes")
        taken = self._sizes.prod(axis=1, dtype=np.int64) * COLOURS
        self._starts = np.cumsum(taken) - taken

    def _keep(self, index: int) -> None:
        try:
            picture = self._source.open(index)
            decoded = picture.decode().picture
        except DataError:
            return
        if not isinstance(decoded, Image.Image) or not isinstance(picture, (LoadedPicture, *_REDUCIBLE)):
            self.unkept += 1
            return
        self._sizes[index] = decoded.height, decoded.width
        self._orientations[index] = picture.orientation
        self._reducible[index] = isinstance(picture, _REDUCIBLE)
        self._pixels += decoded.tobytes()

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def nbytes(self) -> int:
        """Memory of the pictures, in bytes."""
        return len(self._pixels)

    @property
    def longest_side(self) -> int:
        """The longest side of a picture, in pixels."""
        return int(self._sizes.max())

    def name(self, index: int) -> str:
        """Return the name of a picture for messages."""
        return self._source.name(index)

    def open(self, index: int) -> LazyPicture:
        """Return the picture."""
        height, width = self._sizes[index].tolist()
        if height == 0:
            return self._source.open(index)
        start = int(self._starts[index])
        pixels: NDArray[np.uint8] = np.frombuffer(self._pixels, np.uint8, height * width * COLOURS, start)
        source = self._source if self._reducible[index] else None
        return KeptPicture(pixels.reshape(height, width, COLOURS), int(self._orientations[index]), source, index)

    def origin(self, index: int) -> int:
        """Return the picture's number in the collection that was opened."""
        return self._source.origin(index)

    def contents(self) -> Iterator[str]:
        """Yield the lines that identify the collection."""
        return self._source.contents()

    def sampled(self, most: int) -> list[str]:
        """Return lines of some files of the collection."""
        return self._source.sampled(most)

    def fetch(self, now: Iterable[int], soon: Iterable[int]) -> None:
        """Return at once: all pictures are at hand."""


class KeptPicture:
    """Lazy picture that is decoded already, of which Pillow's picture is made when it is asked for.

    Args:
        pixels_HWC: Its pixels.
        orientation: EXIF orientation that it was turned upright from.
        source: Source of a JPEG, of either kind, which decodes it smaller where that is enough; None of other formats.
        index: Its number there.
    """

    def __init__(self, pixels_HWC: NDArray[np.uint8], orientation: int, source: ImageSource | None, index: int) -> None:
        self._pixels_HWC, self.orientation = pixels_HWC, orientation
        self._source, self._index = source, index
        self.height, self.width = pixels_HWC.shape[:2]

    def whole(self, pixels_per_pixel: float) -> NDArray[np.uint8] | None:
        """Return all pixels (H, W, C), None where `decode` would give fewer."""
        if self._source is not None and reduces(pixels_per_pixel, self.height, self.width):
            return None
        return self._pixels_HWC

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the picture; where it is shown at half its size or less, its source decodes it smaller."""
        if self._source is not None and self.whole(pixels_per_pixel) is None:
            return self._source.open(self._index).decode(pixels_per_pixel)
        return Decoded(Image.fromarray(self._pixels_HWC), (0, 0, self.width, self.height))


def decoded_bytes(source: ImageSource) -> int:
    """Return the estimated memory of all pictures of a source, decoded, from the sizes of a few."""
    sampled: list[int] = []
    for index in spaced(len(source), _SAMPLED):
        try:
            picture = source.open(index)
        except DataError:
            continue
        sampled.append(picture.height * picture.width * COLOURS)
    return round(sum(sampled) / len(sampled) * len(source)) if sampled else 0
