"""Handwritten digits that the package brings, as a collection.

1,797 pictures of 8 x 8 pixels (E. Alpaydin and C. Kaynak, UCI 1998, in the order of scikit-learn's `load_digits`): the
first 1,297 to train on, the last 500 to test.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from beit.data.sources.source import ImageSource
from beit.errors import DataError
from beit.hub.repository import INCLUDED
from beit.image import COLOURS, Bands, LazyPicture, LoadedPicture

TRAINING_PICTURES = 1297
DIGITS = {"digits:train": slice(0, TRAINING_PICTURES), "digits:test": slice(TRAINING_PICTURES, None)}
_BRIGHTEST, _WHITE = 16, 255


class DigitsSource(ImageSource):
    """One part of the digits, white on black."""

    def __init__(self, part: str) -> None:
        rows = DIGITS[part]
        with np.load(INCLUDED / "digits.npz", allow_pickle=False) as file:
            levels, labels = file["pictures"][rows], file["labels"][rows]
        self._part = part
        self._images = np.rint(levels * (_WHITE / _BRIGHTEST)).astype(np.uint8)
        self.classes = [str(digit) for digit in range(10)]
        self.labels = labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        """Return the part and the position in it."""
        return f"{self._part}, picture {index}"

    def open(self, index: int) -> LazyPicture:
        """Return the picture, 8 x 8."""
        if self.bands is not None and self.bands.channels != COLOURS:
            return self._grey(index)
        return LoadedPicture(Image.fromarray(self._images[index]).convert("RGB"))

    def _grey(self, index: int) -> LazyPicture:
        if self.bands is None or self.bands.channels != 1:
            raise DataError(f"{self.name(index)} is grey; expected data.channels 1, or 3, which grey is shown in")
        return LoadedPicture(Bands.of_array(self._images[index][..., None] / np.float32(_WHITE)))

    def contents(self) -> Iterator[str]:
        """Yield the name of the part."""
        yield self._part
