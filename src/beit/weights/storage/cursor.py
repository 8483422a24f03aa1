"""Cursor on a file of weights: an ordinary stream for parsers that read from front to back."""

from __future__ import annotations

import io
from typing import Any

from beit.weights.storage.lazy_tensor import WeightFile


class Cursor(io.RawIOBase):
    """A file of weights as an ordinary stream, with a position of its own."""

    def __init__(self, file: WeightFile) -> None:
        self.file, self._position = file, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position, counted from the start, from here or from the end."""
        self._position = offset + (0, self._position, self.file.size)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Read what fits into the buffer."""
        count = self.file.read_into(memoryview(buffer).cast("B"), self._position)
        self._position += count
        return count
