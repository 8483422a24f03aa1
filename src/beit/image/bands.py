"""Pictures of any number of channels, as real numbers: what satellites and medical devices see.

Pillow's own pictures have at most four channels, of 8 bits. Here every channel is a Pillow picture of real numbers, and
the methods are those of Pillow's that views use, so that they take either kind.

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.image.value_range import Asked

COLOURS = 3  # channels of an ordinary picture, which is `Bands` only where it has more than 8 bits
Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels


@dataclass(frozen=True)
class BandOptions:
    """Reading of pictures of other than three channels, of a range of values, or of one of several frames.

    Attributes:
        channels: How many they have.
        value_range: The values that become 0 and 1 where they are not of 8 bits; "bits": all that whole numbers of
            their type can hold; None: what the file declares, else the range of 16 bits without a sign, or 0 to 1 of
            real numbers.
        frame: Which of several frames or pages of a file is read, from 0; None: files of several are refused, unless
            each is a channel.
    """

    channels: int
    value_range: Asked | None = None
    frame: int | None = None


class Bands:
    """Picture of C channels of float32, which are changed one by one; values from 0 to 1 are what can be seen.

    Args:
        channels: A Pillow picture of mode "F" for each channel, all of one size.
        cut: Share of the values in its file that lay beyond their range, and were cut off.
    """

    def __init__(self, channels: Sequence[Image.Image], cut: float = 0.0) -> None:
        self._channels, self.cut = tuple(channels), cut
        self.size: tuple[int, int] = self._channels[0].size
        self.width, self.height = self.size

    @classmethod
    def of_array(cls, values_HWC: NDArray[Any], cut: float = 0.0) -> Self:
        """Return the picture with these values, (H, W, C), of which a share was cut off."""
        repeated = is_repeated(values_HWC)
        values_CHW = np.moveaxis(values_HWC[..., :1] if repeated else values_HWC, -1, 0)
        channels = [Image.fromarray(np.ascontiguousarray(values_HW, np.float32)) for values_HW in values_CHW]
        return cls(channels * values_HWC.shape[-1] if repeated else channels, cut)

    def __len__(self) -> int:
        return len(self._channels)

    def unit_array(self) -> Floats:
        """Return the values (C, H, W), cut off at 0 and 1, which sharp resampling leaves."""
        return np.stack([np.asarray(channel) for channel in self._channels]).clip(0, 1)

    def tobytes(self) -> bytes:
        """Return the bytes of all values."""
        return b"".join(channel.tobytes() for channel in self._channels)

    def resize(self, size: tuple[int, int], resample: Image.Resampling, box: Box | None = None) -> Self:
        """Return it, or the part of it in a box, at another (width, height)."""
        return self._each(lambda channel: channel.resize(size, resample, box))

    def transform(
        self, size: tuple[int, int], method: Image.Transform, data: Sequence[float], resample: Image.Resampling
    ) -> Self:
        """Return it after a geometric change, as `PIL.Image.Image.transform` makes it."""
        return self._each(lambda channel: channel.transform(size, method, data, resample))

    def transpose(self, method: Image.Transpose) -> Self:
        """Return it mirrored or turned."""
        return self._each(lambda channel: channel.transpose(method))

    def rearranged(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Self:
        """Return it with these rows and columns, each of which may be there several times."""
        return self._each(lambda channel: Image.fromarray(np.asarray(channel)[rows[:, None], columns]))

    def shown(self) -> Image.Image:
        """Return it as RGB, to look at: one or two channels in grey, of more the first three as red, green and blue."""
        values_CHW = visible(self.unit_array())
        return Image.fromarray(np.rint(values_CHW.transpose(1, 2, 0) * 255).astype(np.uint8))

    def _each(self, change: Callable[[Image.Image], Image.Image]) -> Self:
        return type(self)([change(channel) for channel in self._channels])


def is_repeated(values_HWC: NDArray[Any]) -> bool:
    """Return whether the channels of an array are one in memory, as those of grey are that is shown as colours."""
    return values_HWC.shape[-1] > 1 and values_HWC.strides[-1] == 0


AnyPicture = Image.Image | Bands  # RGB of 8 bits, or real numbers in any number of channels


def as_rgb(picture: AnyPicture) -> Image.Image:
    """Return a picture as RGB, to look at."""
    return picture.shown() if isinstance(picture, Bands) else picture


def visible(values_CHW: Floats) -> Floats:
    """Return three channels to look at: of fewer the first in all of them, of more the first three."""
    return values_CHW[:COLOURS] if len(values_CHW) >= COLOURS else np.repeat(values_CHW[:1], COLOURS, axis=0)
