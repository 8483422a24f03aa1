"""Tensors in memory, in the place of those in a file: the state dict that a caller passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class HeldTensor:
    """Tensor in memory, with the interface of a `LazyTensor`.

    Attributes:
        array: The values; bfloat16 as its bit patterns in uint16.
        dtype: The plain name of the data type.
    """

    array: np.ndarray[Any, Any]
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return tuple(self.array.shape)

    @property
    def read_dtype(self) -> str:
        """The type of what `read` returns; "bfloat16" stands for its bit patterns."""
        return self.dtype

    @property
    def is_plain(self) -> bool:
        """False: there are no bytes in a file."""
        return False

    def rows(self, first: int, count: int) -> HeldTensor:
        """Return some rows of it, a tensor of their own."""
        return HeldTensor(self.array[first : first + count], self.dtype)

    def read_into(self, array: np.ndarray[Any, Any]) -> None:
        """Copy the values into an array of the same shape and type."""
        array[...] = self.array

    def read(self) -> np.ndarray[Any, Any]:
        """Return the values."""
        return self.array
