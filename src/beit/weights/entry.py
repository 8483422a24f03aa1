"""One canonical tensor of a checkpoint, still on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from beit.weights.rules import Axes, assemble_arrays, assembled_shape
from beit.weights.stored import StoredTensor

Change = Callable[[NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True)
class Entry:
    """A tensor under its canonical name, made of one or several stored tensors when it is read.

    Attributes:
        parts: Stored tensors, stacked along axis 0.
        shape: Shape of the result.
        axes: Permutation of each part before stacking.
        change: A last computation on the values (a resized table).
    """

    parts: tuple[StoredTensor, ...]
    shape: tuple[int, ...]
    axes: Axes | None = None
    change: Change | None = None

    @property
    def dtype(self) -> str:
        """The type on disk, such as "float32" or "bfloat16"."""
        return self.parts[0].dtype

    def read(self) -> NDArray[np.generic]:
        """Read the values; bfloat16 comes as uint16 bit patterns, as float32 if the values are changed."""
        array = assemble_arrays([part.read() for part in self.parts], self.axes)
        if self.change is None:
            return array
        return self.change(from_bfloat16(array) if self.dtype == "bfloat16" else array)

    @property
    def is_plain(self) -> bool:
        """Whether its bytes on disk, part after part, are those of its values."""
        return self.change is None and self.axes is None and all(part.is_plain for part in self.parts)

    def read_into(self, array: NDArray[np.generic]) -> None:
        """Read a plain tensor into a row-major array of its shape and type (bfloat16: uint16), with no copy between."""
        if len(self.parts) == 1:
            self.parts[0].read_into(array)
            return
        first = 0
        for part in self.parts:
            part.read_into(array[first : first + part.shape[0]])
            first += part.shape[0]

    @property
    def read_dtype(self) -> str:
        """The type of what `read` returns; "bfloat16" stands for its bit patterns."""
        return "float32" if self.change is not None and self.dtype == "bfloat16" else self.dtype

    def changed(self, shape: tuple[int, ...], change: Change) -> Entry:
        """Return this tensor with its values changed when it is read."""
        return replace(self, shape=shape, change=change)


def entry_of(parts: Sequence[StoredTensor], axes: Axes | None) -> Entry:
    """Make one canonical tensor of stored ones."""
    return Entry(tuple(parts), assembled_shape([part.shape for part in parts], axes), axes)


def from_bfloat16(bits: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the values of bfloat16 bit patterns: the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
