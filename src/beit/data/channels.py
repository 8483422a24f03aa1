"""Mean and standard deviation of each channel over the pixels of a collection.

Legend: C channels, P pixels.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

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
    """Sums of the values and of their squares and the measured pixels, of each channel; values cut off, and absent."""

    values_C: NDArray[np.float64]
    squares_C: NDArray[np.float64]
    pixels_C: NDArray[np.int64]
    cut: float
    absent: int


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
    found: list[_Sums] = []
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
                    found.append(one)
    require_usable(len(found), len(source), broken)
    pixels_C = _total([one.pixels_C for one in found])
    if not pixels_C.all():
        raise DataError(
            f"channel {int(pixels_C.argmin())} has no measurement in any of {len(found):,} pictures (GDAL_NODATA); "
            "expected some: leave the channel out, or mend what the files declare"
        )
    mean_C = _total([one.values_C for one in found]) / pixels_C
    variance_C = np.maximum(_total([one.squares_C for one in found]) / pixels_C - mean_C**2, 0)
    values = int(pixels_C.sum()) + sum(one.absent for one in found)
    cut, absent = (
        (sum(count > 0 for count in counts), sum(counts) / values)
        for counts in ([one.cut for one in found], [one.absent for one in found])
    )
    return ChannelStatistics(mean_C.tolist(), np.sqrt(variance_C).tolist(), len(found), broken, cut, absent)


def _total(of_channels: list[NDArray[Any]]) -> NDArray[Any]:
    return np.sum(of_channels, axis=0)


def _sums(source: ImageSource, index: int) -> _Sums | BrokenPicture:
    """Return the sums of a picture."""
    try:
        decoded = source.open(index).decode()
    except DataError as error:
        return BrokenPicture(source.name(index), str(error))
    picture, absent_HWC = decoded.picture, decoded.absent_HWC
    values_PC = _values(picture)  # those that are absent are 0, which changes no sum
    absent_C = np.zeros(values_PC.shape[1], np.int64) if absent_HWC is None else absent_HWC.sum(axis=(0, 1))
    cut = picture.cut * values_PC.size if isinstance(picture, Bands) else 0.0
    pixels_C = len(values_PC) - absent_C
    return _Sums(values_PC.sum(axis=0), (values_PC**2).sum(axis=0), pixels_C, cut, int(absent_C.sum()))


def _values(picture: AnyPicture) -> NDArray[np.float64]:
    """Return the values of a picture in [0, 1], a row for every pixel."""
    if isinstance(picture, Bands):
        return picture.unit_array().reshape(len(picture), -1).T.astype(np.float64)
    return np.asarray(picture).reshape(-1, COLOURS).astype(np.float64) / _WHITE
