"""Mean and standard deviation of each channel over the pixels of a collection.

Legend: C channels, P pixels.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from beit.data.broken import BrokenPicture, BrokenPictures, require_usable
from beit.data.sources.progress import progress
from beit.data.sources.source import ImageSource
from beit.errors import DataError
from beit.image import COLOURS, AnyPicture, Bands
from beit.image.cpus import cpu_share

_WHITE = 255
_AT_ONCE = 256  # pictures


class _Sums(NamedTuple):
    """Sums over pictures.

    Attributes:
        pictures: How many.
        values_C: Sum of the values of each channel.
        squares_C: Sum of their squares.
        pixels_C: Pixels of which there is a measurement.
        cut: Number of values beyond their range.
        cut_pictures: Pictures with such.
        absent: Number of values that stand for no measurement.
        absent_pictures: Pictures with such.
    """

    pictures: int
    values_C: NDArray[np.float64]
    squares_C: NDArray[np.float64]
    pixels_C: NDArray[np.int64]
    cut: float
    cut_pictures: int
    absent: int
    absent_pictures: int

    def with_more(self, others: _Sums) -> _Sums:
        """Return the sums over these pictures and others."""
        return _Sums._make(own + other for own, other in zip(self, others, strict=True))


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of a collection, of values from 0 (black) to 1 (white).

    Attributes:
        mean: Of each channel.
        std: Standard deviation of each channel, over the pixels of all pictures.
        pictures: How many were measured.
        broken: Those that could not be.
        cut: Number of pictures with values beyond their range, which are cut off, and their share of all values.
        absent: Number of pictures with values that stand for no measurement, which are left out, and their share.
    """

    mean: list[float]
    std: list[float]
    pictures: int
    broken: list[BrokenPicture]
    cut: tuple[int, float] = (0, 0.0)
    absent: tuple[int, float] = (0, 0.0)


def measure_channels(source: ImageSource, max_broken: float) -> ChannelStatistics:
    """Return the statistics of a collection; every measured pixel of its pictures counts alike.

    Raises:
        DataError: If no picture is usable, more than a share of them are broken, or a channel has no measurement.
    """
    found: _Sums | None = None
    broken, listed = list[BrokenPicture](), BrokenPictures(None, len(source), max_broken)
    with ThreadPoolExecutor(cpu_share()) as threads:
        for start in progress(range(0, len(source), _AT_ONCE), -(-len(source) // _AT_ONCE), "measuring pictures"):
            indices = range(start, min(start + _AT_ONCE, len(source)))
            source.fetch(indices, ())
            for one in threads.map(_sums, repeat(source), indices):
                if isinstance(one, BrokenPicture):
                    broken.append(one)
                    listed.add([one])
                else:
                    found = one if found is None else found.with_more(one)
    require_usable(0 if found is None else found.pictures, len(source), broken)
    assert found is not None  # noqa: S101  # else it is refused
    return _statistics(found, broken)


def _statistics(sums: _Sums, broken: list[BrokenPicture]) -> ChannelStatistics:
    """Return what the sums over all pictures say."""
    pixels_C = sums.pixels_C
    if not pixels_C.all():
        raise DataError(
            f"channel {int(pixels_C.argmin())} has no measurement in any of {sums.pictures:,} pictures (GDAL_NODATA); "
            "expected some: leave the channel out, or mend what the files declare"
        )
    mean_C = sums.values_C / pixels_C
    variance_C = np.maximum(sums.squares_C / pixels_C - mean_C**2, 0)
    values = int(pixels_C.sum()) + sums.absent
    cut, absent = (sums.cut_pictures, sums.cut / values), (sums.absent_pictures, sums.absent / values)
    return ChannelStatistics(mean_C.tolist(), np.sqrt(variance_C).tolist(), sums.pictures, broken, cut, absent)


def _sums(source: ImageSource, index: int) -> _Sums | BrokenPicture:
    """Return the sums of one picture."""
    try:
        decoded = source.open(index).decode()
    except DataError as error:
        return BrokenPicture(source.name(index), str(error))
    picture, absent_HWC = decoded.picture, decoded.absent_HWC
    values_PC = _values(picture)  # those that are absent are 0, which changes no sum
    absent_C = np.zeros(values_PC.shape[1], np.int64) if absent_HWC is None else absent_HWC.sum(axis=(0, 1))
    cut, absent = picture.cut * values_PC.size if isinstance(picture, Bands) else 0.0, int(absent_C.sum())
    sums_C, squares_C, pixels_C = values_PC.sum(axis=0), (values_PC**2).sum(axis=0), len(values_PC) - absent_C
    return _Sums(1, sums_C, squares_C, pixels_C, cut, int(cut > 0), absent, int(absent > 0))


def _values(picture: AnyPicture) -> NDArray[np.float64]:
    """Return the values of a picture in [0, 1], a row for every pixel."""
    if isinstance(picture, Bands):
        return picture.unit_array().reshape(len(picture), -1).T.astype(np.float64)
    return np.asarray(picture).reshape(-1, COLOURS).astype(np.float64) / _WHITE
