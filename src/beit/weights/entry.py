"""One canonical tensor of a checkpoint, still on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from beit.weights.rules import Axes, part_of_array, part_of_shape, rows_of_part
from beit.weights.stored import StoredTensor

Change = Callable[[NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True)
class Entry:
    """A tensor under its canonical name.

    Attributes:
        stored: Where its values lie.
        shape: Shape of the result.
        axes: Permutation of the stored axes.
        change: A last computation on the values (a resized table).
    """

    stored: StoredTensor
    shape: tuple[int, ...]
    axes: Axes | None = None
    change: Change | None = None

    @property
    def dtype(self) -> str:
        """The type on disk, such as "float32" or "bfloat16"."""
        return self.stored.dtype

    def read(self) -> NDArray[np.generic]:
        """Read the values; bfloat16 comes as uint16 bit patterns, as float32 if the values are changed."""
        array = part_of_array(self.stored.read(), self.axes, 0, 1)
        if self.change is None:
            return array
        return self.change(from_bfloat16(array) if self.dtype == "bfloat16" else array)

    @property
    def is_plain(self) -> bool:
        """Whether its bytes on disk are those of its values."""
        return self.change is None and self.axes is None and self.stored.is_plain

    def read_into(self, array: NDArray[np.generic]) -> None:
        """Read a plain tensor into a row-major array of its shape and type (bfloat16: uint16), with no copy between."""
        self.stored.read_into(array)

    @property
    def read_dtype(self) -> str:
        """The type of what `read` returns; "bfloat16" stands for its bit patterns."""
        return "float32" if self.change is not None and self.dtype == "bfloat16" else self.dtype

    def changed(self, shape: tuple[int, ...], change: Change) -> Entry:
        """Return this tensor with its values changed when it is read."""
        return replace(self, shape=shape, change=change)


def entry_of(stored: StoredTensor, axes: Axes | None = None, index: int = 0, count: int = 1) -> Entry:
    """Return part `index` of `count` of a stored tensor along axis 0, as one canonical tensor.

    Raises:
        ValueError: If it cannot be divided so.
    """
    if count > 1:
        rows = rows_of_part(stored.shape, count)
        stored = stored.rows(index * rows, rows)
    return Entry(stored, part_of_shape(stored.shape, axes, 0, 1), axes)


def from_bfloat16(bits: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the values of bfloat16 bit patterns: the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
