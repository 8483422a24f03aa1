"""Reading and writing of the msgpack files of Flax: nested maps with names as keys and arrays as leaves.

Flax puts an array into an extension value of code 1, whose payload is msgpack again: [shape, data type, raw bytes];
code 3 is a single numpy number in the same form.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from beit.errors import CheckpointError, shortened
from beit.files import atomic_file, reading
from beit.weights.storage.cursor import Cursor
from beit.weights.storage.lazy_tensor import ITEM_SIZES, MAX_AXES, LazyTensor, WeightFile

_ARRAY, _NATIVE_COMPLEX, _NUMBER = 1, 2, 3  # extension codes of flax.serialization
_CHUNKED = "__msgpack_chunked_array__"  # how Flax cuts arrays of more than 1 GiB into pieces
_MAX_DEPTH = 64
_MAX_VALUES = 100_000  # entries of all maps together; the largest BEiT has some thousand
_MAX_STRING = 65_536

# First byte -> how many bytes the length takes that follows it.
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BINARIES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}  # here the length itself
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_FLOATS = {0xCA: ">f", 0xCB: ">d"}


def open_msgpack(path: str | Path) -> dict[str, Any]:
    """Return the nested maps of a Flax file with a `LazyTensor` for every array, none of them read yet.

    Raises:
        CheckpointError: If the file is missing, damaged, or holds values other than maps, arrays, numbers and strings.
    """
    with reading(path, "a Flax msgpack file"):
        reader = _Reader(WeightFile(path))
        tree = reader.value(depth=0)
        if not isinstance(tree, dict):
            raise ValueError(f"it holds {shortened(tree)}, not a map")
        if reader.left:
            raise ValueError(f"{reader.left} bytes follow the end of the map")
        return cast("dict[str, Any]", tree)


class _Reader:
    """A msgpack file read from front to back; every length is compared with the bytes left before it is used."""

    def __init__(self, file: WeightFile) -> None:
        self.file = file
        self.stream = io.BufferedReader(Cursor(file))
        self.size = self.left = file.size
        self.entries = 0

    def value(self, depth: int) -> Any:
        """Read one value of the tree."""
        first = self._number(1)
        if 0x80 <= first <= 0x8F or first in _MAPS:
            return self._map(first & 0x0F if first <= 0x8F else self._number(_MAPS[first]), depth)
        if 0xA0 <= first <= 0xBF or first in _STRINGS:
            return self._string(first)
        if first in _EXTENSIONS or first in _FIXED_EXTENSIONS:
            return self._tensor(_FIXED_EXTENSIONS.get(first) or self._number(_EXTENSIONS[first]))
        return self._scalar(first)

    def _scalar(self, first: int) -> float | bool | None:
        if first < 0x80 or first >= 0xE0:
            return first - 0x100 * (first >= 0xE0)
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _UNSIGNED:
            return self._number(_UNSIGNED[first])
        if first in _SIGNED:
            return int.from_bytes(self._take(_SIGNED[first]), "big", signed=True)
        if first in _FLOATS:
            return struct.unpack(_FLOATS[first], self._take(struct.calcsize(_FLOATS[first])))[0]
        raise ValueError(f"type byte 0x{first:02x} at byte {self._position - 1}; expected a map, array, number or text")

    @property
    def _position(self) -> int:
        return self.size - self.left

    def _take(self, count: int) -> bytes:
        if count > self.left:
            raise ValueError(f"{count} bytes are announced at byte {self._position}, {self.left} are left")
        self.left -= count
        return self.stream.read(count)

    def _number(self, count: int) -> int:
        return int.from_bytes(self._take(count), "big")

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        self.entries += count
        if depth >= _MAX_DEPTH:
            raise ValueError(f"maps are nested more than {_MAX_DEPTH} deep")
        if 2 * count > self.left or self.entries > _MAX_VALUES:  # an entry takes two bytes or more
            raise ValueError(f"a map of {count} entries at byte {self._position}, {self.left} bytes are left")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._string(self._number(1))
            if key in found:
                raise ValueError(f"the name {shortened(key)} stands twice in one map")
            if key == _CHUNKED:
                raise ValueError("an array of more than 1 GiB in pieces, which no BEiT has")
            found[key] = self.value(depth + 1)
        return found

    def _string(self, first: int) -> str:
        if 0xA0 <= first <= 0xBF:
            count = first & 0x1F
        elif first in _STRINGS:
            count = self._number(_STRINGS[first])
        else:
            raise ValueError(f"type byte 0x{first:02x} at byte {self._position - 1}; expected a string")
        if count > _MAX_STRING:
            raise ValueError(f"a string of {count} bytes; expected at most {_MAX_STRING}")
        return self._take(count).decode("utf-8")

    def _tensor(self, length: int) -> LazyTensor:
        code = self._number(1)
        if length > self.left:
            raise ValueError(f"an array of {length} bytes at byte {self._position}, {self.left} are left")
        if code not in (_ARRAY, _NUMBER):
            kind = "a complex number" if code == _NATIVE_COMPLEX else "unknown"
            raise ValueError(f"extension code {code} ({kind}); expected {_ARRAY} or {_NUMBER}, a numpy array or number")
        end = self._position + length
        if (first := self._number(1)) != 0x93:
            raise ValueError(f"an array starts with byte 0x{first:02x}, not with shape, data type and bytes")
        shape = cast("tuple[int, ...]", tuple(self._scalar(self._number(1)) for _ in range(self._axes())))
        dtype = self._string(self._number(1))
        if (first := self._number(1)) not in _BINARIES:
            raise ValueError(f"the elements of an array start with byte 0x{first:02x}; expected raw bytes")
        count = self._number(_BINARIES[first])
        tensor = LazyTensor(shape, dtype, self.file, self._position)
        if not tensor.nbytes == count == end - self._position:
            raise ValueError(
                f"an array of shape {shape} and type {dtype} needs {tensor.nbytes} bytes; it announces {count}, and "
                f"{end - self._position} are there"
            )
        self.left -= count
        self.stream.seek(end)
        return tensor

    def _axes(self) -> int:
        first = self._number(1)
        count = first & 0x0F if 0x90 <= first <= 0x9F else self._number(_ARRAYS[first]) if first in _ARRAYS else None
        if count is None or count > MAX_AXES:
            raise ValueError(f"a shape of {count} axes (byte 0x{first:02x}); expected a list of at most {MAX_AXES}")
        return count


def write_msgpack(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write nested maps of arrays as Flax does, one array at a time, keys in the order given; atomically.

    Args:
        path: Where to write.
        tensors: Arrays by name, in maps nested as wanted. A leaf may be a pair `(array, dtype name)` when numpy cannot
            name the data type itself: `(bits, "bfloat16")` for bit patterns in uint16.

    Raises:
        CheckpointError: If a key is not a string or a leaf cannot be written.
        StorageError: If the disk is full; an earlier file is untouched.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        _write_map(file, tensors, str(path), depth=0)


def _write_map(file: BinaryIO, tensors: Mapping[Any, Any], place: str, depth: int) -> None:
    if depth >= _MAX_DEPTH:
        raise CheckpointError(f"{place} is nested {depth} deep; at most {_MAX_DEPTH} can be read again; flatten it")
    file.write(_head(len(tensors), short=(0x80, 16), long=_MAPS))
    for key, leaf in tensors.items():
        if not isinstance(key, str):
            raise CheckpointError(f"{place} has the key {shortened(key)}; names are strings; convert it to one")
        name = key.encode("utf-8")
        file.write(_head(len(name), short=(0xA0, 32), long=_STRINGS) + name)
        if isinstance(leaf, Mapping):
            _write_map(file, cast("Mapping[Any, Any]", leaf), f"{place}: {key}", depth + 1)
        else:
            _write_array(file, leaf, f"{place}: {key}")


def _write_array(file: BinaryIO, leaf: Any, place: str) -> None:
    array, dtype = cast("tuple[Any, Any]", leaf) if isinstance(leaf, tuple) else (leaf, None)
    if not isinstance(array, np.ndarray):
        raise CheckpointError(f"{place} is a {type(array).__name__}; expected a numpy array; convert it to one")
    dtype = dtype or array.dtype.name
    if ITEM_SIZES.get(dtype) != array.dtype.itemsize:
        raise CheckpointError(
            f"{place} holds {array.dtype.name}, to be written as {dtype}; expected one of {', '.join(ITEM_SIZES)} of "
            "the same size; convert it first"
        )
    name = dtype.encode("ascii")
    payload = bytes([0x93]) + _head(array.ndim, short=(0x90, 16), long=_ARRAYS)
    payload += b"".join(
        _head(size, short=(0x00, 128), long={0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}) for size in array.shape
    )
    payload += _head(len(name), short=(0xA0, 32), long=_STRINGS) + name
    if array.nbytes + len(payload) + 5 > 0xFFFFFFFF:
        raise CheckpointError(f"{place} has {array.nbytes} bytes; msgpack holds less than 4 GiB; use safetensors")
    payload += _head(array.nbytes, short=(0, 0), long=_BINARIES)
    length = len(payload) + array.nbytes
    fixed = next((first for first, size in _FIXED_EXTENSIONS.items() if size == length), None)
    file.write(bytes([fixed]) if fixed else _head(length, short=(0, 0), long=_EXTENSIONS))
    file.write(bytes([_ARRAY]) + payload)
    # Seen as bytes, because data types that numpy does not know have no buffer of their own.
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    file.write(little.reshape(-1).view(np.uint8).data)


def _head(count: int, short: tuple[int, int], long: Mapping[int, int]) -> bytes:
    """Return the first bytes of a value: `short` is (first byte, counts that fit into it), else the least `long`."""
    base, fitting = short
    if count < fitting:
        return bytes([base | count])
    for first, width in long.items():
        if count < 256**width:
            return bytes([first]) + count.to_bytes(width, "big")
    raise CheckpointError(f"a length of {count} is more than msgpack can hold; use safetensors")
