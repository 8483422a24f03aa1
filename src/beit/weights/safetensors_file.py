"""Read the header of a safetensors file: 8 bytes of length, then JSON, then the bytes of the tensors without gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn, cast

from beit.weights.stored import StoredTensor, is_count, reading, shortened

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


def open_safetensors(path: str | Path) -> dict[str, StoredTensor]:
    """Return the tensors of a safetensors file by name, none of them read yet.

    Raises:
        CheckpointError: If the file is missing, damaged, or breaks a rule of the format.
    """
    path = Path(path)
    with reading(path, "a safetensors file"):
        header, start, size = _header(path)
        _check_metadata(header.pop("__metadata__", {}))
        spans: list[tuple[int, int, str]] = []
        tensors: dict[str, StoredTensor] = {}
        for name, entry in header.items():
            tensors[name], end = _tensor(path, name, entry, start)
            spans.append((tensors[name].offset, end, name))
        _check_cover(spans, start, size)
        return tensors


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header, where the tensors start, and the size of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 0 < length <= min(_MAX_HEADER, size - 8):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        text = file.read(length)
    # Every value of a JSON text follows one of these, so this bounds what the parser can build.
    if sum(text.count(mark) for mark in (b",", b"[", b"{")) > _MAX_VALUES:
        raise ValueError(f"a header of more than {_MAX_VALUES} values")
    # A header has no numbers but whole ones, and a fraction of a million digits takes long to parse.
    header = json.loads(text.decode(), object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number)
    if not isinstance(header, dict):
        raise ValueError(f"the header is {shortened(header)}, not an object")
    return cast("dict[str, Any]", header), 8 + length, size


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


def _tensor(path: Path, name: str, entry: Any, start: int) -> tuple[StoredTensor, int]:
    """Return one tensor and where it ends in the file."""
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
    tensor = StoredTensor(tuple(cast("list[Any]", shape)), DTYPES[dtype], path, start + begin)
    if tensor.nbytes != end - begin:
        raise ValueError(f"{shortened(name)} needs {tensor.nbytes} bytes and is given {end - begin}")
    return tensor, start + end


def _check_cover(spans: list[tuple[int, int, str]], start: int, size: int) -> None:
    """Refuse tensors that overlap, leave holes, or end elsewhere than the file: bytes nobody owns hide things."""
    covered = start
    for begin, end, name in sorted(spans):
        if begin != covered:
            raise ValueError(f"{shortened(name)} starts at byte {begin}; expected {covered}, where the last one ends")
        covered = end
    if covered != size:
        raise ValueError(f"its tensors end at byte {covered}, the file at byte {size}")
