"""Lazy tensors, which lie in a file and are read on request, and the reader of safetensors.

A file is opened once. The readers of safetensors, pickled and msgpack files check every number they meet and return
`LazyTensor`s; no byte of a tensor is touched before it is read.

A safetensors file holds 8 bytes of length, a header in JSON, then the bytes of the tensors without gaps.
"""

from __future__ import annotations

import json
import math
import os
import sys
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np

from beit.errors import shortened
from beit.files import reading, regular_descriptor

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

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
_MAX_HEADER = 100_000_000  # the limit of the format itself
_MAX_VALUES = 300_000  # JSON values in a header, some forty thousand tensors: more is an attack on time and memory


class WeightFile:
    """File of weights, opened once: read at any place by any thread, closed with the last reference to it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._descriptor = regular_descriptor(path)
        weakref.finalize(self, os.close, self._descriptor)

    @property
    def size(self) -> int:
        """Bytes that it holds now."""
        return os.fstat(self._descriptor).st_size

    def read_into(self, memory: memoryview, offset: int) -> int:
        """Read what fits into the memory, and return how many bytes: fewer only at the end of the file."""
        read = 0
        while read < len(memory) and (count := os.preadv(self._descriptor, [memory[read:]], offset + read)):
            read += count
        return read

    def read(self, count: int, offset: int) -> bytes:
        """Return so many bytes: fewer only at the end of the file."""
        memory = bytearray(count)
        return bytes(memory[: self.read_into(memoryview(memory), offset)])


@dataclass(frozen=True)
class LazyTensor:
    """Tensor in a file: its place, shape and type; values are read on request.

    Attributes:
        shape: The size of each axis.
        dtype: The plain name of the data type, one of `ITEM_SIZES`.
        file: The file that holds it.
        offset: Start of its first element in the file, in bytes.

    Raises:
        ValueError: If a number is not one, is negative, or is beyond what an array can have.
    """

    shape: tuple[int, ...]
    dtype: str
    file: WeightFile
    offset: int

    def __post_init__(self) -> None:
        if self.dtype not in ITEM_SIZES:
            raise ValueError(f"data type {shortened(self.dtype)}; expected one of {', '.join(ITEM_SIZES)}")
        check_axes("shape", self.shape)
        if not is_count(self.offset):
            raise ValueError(f"offset {shortened(self.offset)}; expected a whole number, zero or more")
        if math.prod(max(size, 1) for size in self.shape) * self.item_size > _MAX_BYTES:
            raise ValueError(f"shape {shortened(self.shape)} has more elements than fit into any memory")

    @property
    def item_size(self) -> int:
        """Bytes per element."""
        return ITEM_SIZES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of the array that `read()` returns."""
        return math.prod(self.shape) * self.item_size

    @property
    def read_dtype(self) -> str:
        """The type of what `read` returns; "bfloat16" stands for its bit patterns."""
        return self.dtype

    @property
    def is_plain(self) -> bool:
        """True if its bytes in the file are those of the array that `read()` returns, on this machine."""
        return self.dtype != "bool" and sys.byteorder == "little"

    def rows(self, first: int, count: int) -> LazyTensor:
        """Return some rows of it, a tensor of their own."""
        offset = self.offset + first * self._row_step * self.item_size
        return replace(self, shape=(count, *self.shape[1:]), offset=offset)

    @property
    def _row_step(self) -> int:
        """Elements in the file from one row to the next."""
        return math.prod(self.shape[1:])

    def read_into(self, array: np.ndarray) -> None:
        """Read a plain tensor into a row-major array of its shape and type, with no copy between.

        Raises:
            CheckpointError: If the file is shorter than it must be.
        """
        memory = array.reshape(-1).view(np.uint8).data
        with reading(self.file.path, "a file of weights"):
            if (read := self.file.read_into(memory, self.offset)) < len(memory):
                raise ValueError(f"ended after {read} of {len(memory)} bytes of a tensor")

    def read(self) -> np.ndarray:
        """Return the tensor as a row-major array; bfloat16 comes as its bit patterns in uint16.

        Raises:
            CheckpointError: If the file is shorter than it must be.
        """
        return self._elements(math.prod(self.shape)).reshape(self.shape)

    def _elements(self, count: int) -> np.ndarray:
        """Return so many elements from the first one on."""
        size = count * self.item_size
        with reading(self.file.path, "a file of weights"):
            if self.offset + size > self.file.size:  # checked first, so that a false length allocates no memory
                raise ValueError(f"holds {self.file.size} bytes, a tensor ends at byte {self.offset + size}")
        block = np.empty(count, _ON_DISK[self.dtype])
        self.read_into(block)
        return block != 0 if self.dtype == "bool" else block  # a byte but 0 and 1 is no valid bool in memory


def is_count(value: object) -> bool:
    """Return whether a value is a plain int of at least zero; True and 2.0 are not."""
    return type(value) is int and value >= 0


def check_axes(what: str, numbers: tuple[Any, ...]) -> None:
    """Refuse numbers, one for each axis, that no array can have."""
    if len(numbers) > MAX_AXES:
        raise ValueError(f"{what} of {len(numbers)} axes; expected at most {MAX_AXES}")
    if not all(is_count(number) for number in numbers):
        raise ValueError(f"{what} {shortened(numbers)}; expected whole numbers, zero or more")


def open_safetensors(path: str | Path) -> dict[str, LazyTensor]:
    """Return the tensors of a safetensors file by name, none of them read yet.

    Raises:
        CheckpointError: If the file is missing, damaged, or breaks a rule of the format.
    """
    with reading(path, "a safetensors file"):
        file = WeightFile(path)
        header, start = _header(file)
        _check_metadata(header.pop("__metadata__", {}))
        spans: list[tuple[int, int, str]] = []
        tensors: dict[str, LazyTensor] = {}
        for name, entry in header.items():
            tensors[name], end = _tensor(file, name, entry, start)
            spans.append((tensors[name].offset, end, name))
        _check_cover(spans, start, file.size)
        return tensors


def _header(file: WeightFile) -> tuple[dict[str, Any], int]:
    """Return the header, and the position at which the tensors start."""
    length = int.from_bytes(file.read(8, offset=0), "little")
    if file.size < 8 or not 0 < length <= min(_MAX_HEADER, file.size - 8):
        raise ValueError(f"a header of {length} bytes in a file of {file.size}")
    text = file.read(length, offset=8)
    # Every value of a JSON text follows one of these, so this bounds what the parser can build.
    if sum(text.count(mark) for mark in (b",", b"[", b"{")) > _MAX_VALUES:
        raise ValueError(f"a header of more than {_MAX_VALUES} values")
    # A header has no numbers but whole ones, and a fraction of a million digits takes long to parse.
    header = json.loads(text.decode(), object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number)
    if not isinstance(header, dict):
        raise ValueError(f"the header is {shortened(header)}, not an object")
    return cast("dict[str, Any]", header), 8 + length


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"the header has the number {shortened(text)}; expected whole numbers")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {shortened(name)} stands twice in the header")
        found[name] = value
    return found


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict):
        raise ValueError(f"__metadata__ is {shortened(metadata)}, not an object of strings")
    for value in cast("dict[str, Any]", metadata).values():
        if not isinstance(value, str):
            raise ValueError(f"__metadata__ holds {shortened(value)}, not a string")


def _tensor(file: WeightFile, name: str, entry: Any, start: int) -> tuple[LazyTensor, int]:
    """Return one tensor and the position of its end in the file."""
    name.encode("utf-8")  # JSON can spell half a character, which nobody could print
    if not isinstance(entry, dict) or set(cast("dict[str, Any]", entry)) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shortened(name)} is {shortened(entry)}; expected dtype, shape and data_offsets")
    fields = cast("dict[str, Any]", entry)
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{shortened(name)} has the data type {shortened(dtype)}; expected one of {', '.join(DTYPES)}")
    if not isinstance(shape, list):
        raise ValueError(f"{shortened(name)} has the shape {shortened(shape)}, not a list")
    if not isinstance(offsets, list):
        raise ValueError(f"{shortened(name)} has the data_offsets {shortened(offsets)}, not a list")
    numbers = cast("list[Any]", offsets)
    if len(numbers) != 2 or not all(map(is_count, numbers)) or numbers[0] > numbers[1]:
        raise ValueError(f"{shortened(name)} has the data_offsets {shortened(numbers)}; expected [begin, end]")
    begin, end = numbers
    tensor = LazyTensor(tuple(cast("list[Any]", shape)), DTYPES[dtype], file, start + begin)
    if tensor.nbytes != end - begin:
        raise ValueError(f"{shortened(name)} needs {tensor.nbytes} bytes and is given {end - begin}")
    return tensor, start + end


def _check_cover(spans: list[tuple[int, int, str]], start: int, size: int) -> None:
    """Refuse tensors that overlap, leave holes, or end elsewhere than the file, since unused bytes could hide data."""
    covered = start
    for begin, end, name in sorted(spans):
        if begin != covered:
            raise ValueError(f"{shortened(name)} starts at byte {begin}; expected {covered}, where the last one ends")
        covered = end
    if covered != size:
        raise ValueError(f"its tensors end at byte {covered}, the file at byte {size}")
