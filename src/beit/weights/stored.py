"""A tensor that lies in a file and is read when asked for.

The readers of safetensors, pickled and msgpack files check every number they meet and return these; no byte of a
tensor is touched before `read()`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from beit.errors import CheckpointError

# What `read()` takes from the file for each data type. numpy has no bfloat16; booleans are checked byte by byte.
_ON_DISK = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "i1",
    "uint64": "<u8",
    "uint32": "<u4",
    "uint16": "<u2",
    "uint8": "u1",
    "bool": "u1",
}
ITEM_SIZES = {name: np.dtype(code).itemsize for name, code in _ON_DISK.items()}
MAX_AXES = 32  # numpy 1.x has no arrays of more axes
_MAX_BYTES = 2**62  # numpy counts bytes in signed 64 bits, also those of empty arrays such as (0, 2**62)


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies and how to read it.

    Attributes:
        shape: The size of each axis.
        dtype: The plain name of the data type, one of `ITEM_SIZES`.
        path: The file that holds the tensor.
        offset: Where its first element starts in the file, in bytes.
        strides: The step along each axis, in elements; None when the elements lie in row-major order.

    Raises:
        ValueError: If a number is not one, is negative, or is beyond what an array can have.
    """

    shape: tuple[int, ...]
    dtype: str
    path: Path
    offset: int
    strides: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.dtype not in ITEM_SIZES:
            raise ValueError(f"data type {shortened(self.dtype)}; expected one of {', '.join(ITEM_SIZES)}")
        _check_axes("shape", self.shape)
        if not is_count(self.offset):
            raise ValueError(f"offset {shortened(self.offset)}; expected a whole number, zero or more")
        if math.prod(max(size, 1) for size in self.shape) * self.item_size > _MAX_BYTES:
            raise ValueError(f"shape {shortened(self.shape)} has more elements than fit into any memory")
        if self.strides is not None:
            _check_axes("strides", self.strides)
            if len(self.strides) != len(self.shape):
                raise ValueError(f"{len(self.strides)} strides for {len(self.shape)} axes; expected one for each")

    @property
    def item_size(self) -> int:
        """Bytes per element."""
        return ITEM_SIZES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of the array that `read()` returns."""
        return math.prod(self.shape) * self.item_size

    @property
    def span(self) -> int:
        """Bytes in the file from the first element to the end of the last; more or less than `nbytes` if strided."""
        if self.strides is None or 0 in self.shape:
            return self.nbytes
        steps = ((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return (1 + sum(steps)) * self.item_size

    @property
    def is_plain(self) -> bool:
        """Whether its bytes in the file are those of the array that `read()` returns, on this machine."""
        return self.strides is None and self.dtype != "bool" and sys.byteorder == "little"

    def rows(self, first: int, count: int) -> StoredTensor:
        """Return some rows of it, a tensor of their own."""
        step = math.prod(self.shape[1:]) if self.strides is None else self.strides[0]
        return replace(self, shape=(count, *self.shape[1:]), offset=self.offset + first * step * self.item_size)

    def read_into(self, array: np.ndarray) -> None:
        """Read a plain tensor into a row-major array of its shape and type, with no copy between.

        Raises:
            CheckpointError: If the file is gone or shorter than it must be.
        """
        with reading(self.path, "a file of weights"), self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            memory, read = array.reshape(-1).view(np.uint8), 0
            while read < memory.size:
                count = file.readinto(memory[read:].data)
                if not count:
                    raise ValueError(f"ended after {read} of {self.nbytes} bytes of a tensor")
                read += count

    def read(self) -> np.ndarray:
        """Return the tensor as a row-major array; bfloat16 comes as its bit patterns in uint16.

        Raises:
            CheckpointError: If the file is gone or shorter than it must be.
        """
        with reading(self.path, "a file of weights"):
            held = self.path.stat().st_size
            if self.offset + self.span > held:  # looked at first, so that a false length allocates nothing
                raise ValueError(f"holds {held} bytes, a tensor ends at byte {self.offset + self.span}")
            block = np.fromfile(self.path, _ON_DISK[self.dtype], self.span // self.item_size, offset=self.offset)
            if block.nbytes != self.span:
                raise ValueError(f"ended after {block.nbytes} of {self.span} bytes of a tensor")
        if self.dtype == "bool":
            block = block != 0  # a byte other than 0 and 1 is no valid bool in memory
        if self.strides is None or 0 in self.shape:
            return block.reshape(self.shape)
        # The stride of an axis of size 1 means nothing and may be any number.
        steps = [stride * block.itemsize * (size > 1) for size, stride in zip(self.shape, self.strides, strict=True)]
        view = np.lib.stride_tricks.as_strided(block, self.shape, steps, writeable=False)
        return view.copy(order="C")


def is_count(value: object) -> bool:
    """Return whether a value is a plain int of at least zero; True and 2.0 are not."""
    return type(value) is int and value >= 0


def is_row_major(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether strides, in elements, are those of elements in row-major order without gaps."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            return 0 in shape
        expected *= size
    return True


def shortened(value: object, items: int = 8) -> str:
    """Return how a value met in a file is shown in a message.

    Never by the megabyte, and never by `repr` of a container: what is nested cleverly takes for ever to print.
    """
    if isinstance(value, str | bytes):
        return repr(value[:100]) + "..." * (len(value) > 100)
    if isinstance(value, float | bool | None):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 256 else f"<int of {value.bit_length()} bits>"
    if isinstance(value, list | tuple) and items:
        shown = [shortened(item, items=0) for item in cast("Sequence[object]", value[:items])]
        return f"[{', '.join(shown + ['...'] * (len(cast('Sequence[object]', value)) > items))}]"
    return f"<{type(value).__name__}>"


@contextmanager
def reading(path: Path, kind: str) -> Generator[None]:
    """Turn whatever goes wrong while a file is read into a `CheckpointError` that names the file.

    A damaged file can make any line of a reader fail, so this is the one place that catches every exception.
    """
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"{path} cannot be read ({reason}); expected {kind}; check its name and rights") from None
    except Exception as error:
        reason = str(error)[:300] or type(error).__name__
        raise CheckpointError(
            f"{path} is damaged or unsafe ({reason}); expected {kind}; fetch or save it again"
        ) from None


def _check_axes(what: str, numbers: tuple[Any, ...]) -> None:
    if len(numbers) > MAX_AXES:
        raise ValueError(f"{what} of {len(numbers)} axes; expected at most {MAX_AXES}")
    if not all(is_count(number) for number in numbers):
        raise ValueError(f"{what} {shortened(numbers)}; expected whole numbers, zero or more")
