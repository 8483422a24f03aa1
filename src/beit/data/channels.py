"""Mean and standard deviation of each channel over the pixels of a collection.

Legend: C channels, P pixels.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

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

Sums = tuple[NDArray[np.float64], NDArray[np.float64], int, float]


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of a collection, of values from 0 (black) to 1 (white).

    Attributes:
        mean: Of each channel.
        std: Standard deviation of each channel, over the pixels of all pictures.
        pictures: How many were measured.
        broken: Those that could not be.
        cut: Number of pictures with values beyond their range, which are cut off, and their share of all values.
    """

    mean: list[float]
    std: list[float]
    pictures: int
    broken: list[BrokenPicture]
    cut: tuple[int, float] = (0, 0.0)


def measure_channels(source: ImageSource, max_broken: float) -> ChannelStatistics:
    """Return the statistics of a collection; every pixel of its pictures counts alike.

    Raises:
        DataError: If no picture is usable, or more than a share of them are broken.
    """
    channels = COLOURS if source.bands is None else source.bands.channels
    sums_C, squares_C, pixels, pictures = np.zeros(channels), np.zeros(channels), 0, 0
    cut_pictures, cut_pixels = 0, 0.0
    broken, listed = list[BrokenPicture](), BrokenPictures(None, len(source), max_broken)
    with ThreadPoolExecutor(cpu_share()) as threads:
        for start in progress(range(0, len(source), _AT_ONCE), -(-len(source) // _AT_ONCE), "measuring pictures"):
            indices = range(start, min(start + _AT_ONCE, len(source)))
            source.fetch(indices, ())
            for found in threads.map(_sums, repeat(source), indices):
                if isinstance(found, BrokenPicture):
                    broken.append(found)
                    listed.add([found])
                    continue
                sums_C, squares_C, pixels = sums_C + found[0], squares_C + found[1], pixels + found[2]
                pictures += 1
                cut_pictures, cut_pixels = cut_pictures + (found[3] > 0), cut_pixels + found[3] * found[2]
    require_usable(pictures, len(source), broken)
    mean_C = sums_C / pixels
    cut = (cut_pictures, cut_pixels / pixels)
    variance_C = np.maximum(squares_C / pixels - mean_C**2, 0)
    return ChannelStatistics(mean_C.tolist(), np.sqrt(variance_C).tolist(), pictures, broken, cut)


def _sums(source: ImageSource, index: int) -> Sums | BrokenPicture:
    """Return the sums of the values and of their squares, the number of pixels, and the share that was cut off."""
    try:
        picture = source.open(index).decode().picture
    except DataError as error:
        return BrokenPicture(source.name(index), str(error))
    values_PC = _values(picture)
    cut = picture.cut if isinstance(picture, Bands) else 0.0
    return values_PC.sum(axis=0), (values_PC**2).sum(axis=0), len(values_PC), cut


def _values(picture: AnyPicture) -> NDArray[np.float64]:
    """Return the values of a picture in [0, 1], a row for every pixel."""
    if isinstance(picture, Bands):
        return picture.unit_array().reshape(len(picture), -1).T.astype(np.float64)
    return np.asarray(picture).reshape(-1, COLOURS).astype(np.float64) / _WHITE
