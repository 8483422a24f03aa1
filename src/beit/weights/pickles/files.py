"""Reader of `torch.save` and `pickle` files, without torch and without executing code.

Three kinds of files are distinguished here: the zip files of torch, the older ones that hold five pickles and then the
storages, and plain pickles. `machine` interprets the pickles; what it built is returned once it is known that
any caller can traverse it.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn, cast

from beit.errors import shortened
from beit.files import reading
from beit.weights.pickles.globals import MAX_STEPS, Job
from beit.weights.pickles.machine import MAX_PICKLE, run_pickle
from beit.weights.pickles.torch_objects import PickledModule, Storage
from beit.weights.storage.cursor import Cursor
from beit.weights.storage.lazy_tensor import LazyTensor, WeightFile

_KIND = "a checkpoint of torch.save or a plain pickle"
_MAX_DEPTH = 64  # of the result, so that everyone may walk it by plain recursion
_MAX_DIRECTORY = 4 * 2**20  # bytes of the directory of a zip file, some forty thousand tensors
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_RECORD = b"PK\x03\x04"  # the first bytes of a record in a zip file


def open_pickled(path: str | Path, modules: Iterable[str] = ()) -> Any:
    """Return the object in a file of `torch.save` (zip or older) or `pickle`, its tensors as `LazyTensor`.

    Parameters come as their tensors, `torch.Size` as a tuple, data types and devices of torch as strings such as
    "torch.float32" and "cuda:0", numpy numbers as Python numbers. The result has no cycles and is at most 64 deep.

    Args:
        path: The file.
        modules: Full names of torch module classes that a zip file may hold whole; they come as `PickledModule`.

    Raises:
        CheckpointError: If the file is missing, damaged, too large, or names a function or class that is not allowed.
    """
    with reading(path, _KIND):
        file = WeightFile(path)
        if file.read(4, offset=0) == _RECORD:
            return _open_zip(file, frozenset(modules))
        stream = io.BufferedReader(Cursor(file))
        first = run_pickle(Job(file, _no_storage), stream, file.size)
        if first == _LEGACY_MAGIC:
            return _open_legacy(file, stream)
        if stream.tell() != file.size:
            raise ValueError(f"{file.size - stream.tell()} bytes follow the end of the pickle")
        return _checked(first)


def _no_storage(storage: Storage) -> NoReturn:
    raise ValueError(f"a tensor refers to storage {shortened(storage.key)}, but a plain pickle has none")


def _open_zip(file: WeightFile, modules: frozenset[str]) -> Any:
    """Read the format of torch since 1.6: a zip file of data.pkl and one uncompressed record per storage."""
    records = _zip_records(file)
    found = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise ValueError(f"{len(found)} records named data.pkl in a zip file of {len(records)}; expected one")
    folder = found[0].removesuffix("data.pkl")
    if (order := records.get(folder + "byteorder")) is not None:
        name = file.read(min(order.file_size, 16), _data_offset(file, order))
        if name != b"little":
            raise ValueError(f"the byte order is {name!r}; expected little")
    starts: dict[str, int] = {}

    def locate(storage: Storage) -> int:
        record = records.get(f"{folder}data/{storage.key}")
        if record is None:
            raise ValueError(f"storage {shortened(storage.key)} has no record in the zip file")
        if storage.nbytes > record.file_size:
            raise ValueError(
                f"storage {shortened(storage.key)} of {storage.nbytes} bytes has a record of {record.file_size}"
            )
        if storage.key not in starts:
            starts[storage.key] = _data_offset(file, record)
        return starts[storage.key]

    record = records[found[0]]
    if record.file_size > MAX_PICKLE:
        raise ValueError(f"data.pkl has {record.file_size} bytes; expected at most {MAX_PICKLE}")
    stream = io.BufferedReader(Cursor(file))
    end = stream.seek(_data_offset(file, record)) + record.file_size
    result = run_pickle(Job(file, locate, modules), stream, end)
    if stream.tell() != end:
        raise ValueError(f"{end - stream.tell()} bytes follow the end of data.pkl")
    return _checked(result)


class _CautiousCursor(Cursor):
    """Stream for `zipfile`, which reads the directory of a zip file in one go, whatever its size."""

    def read(self, size: int | None = -1, /) -> bytes | None:
        count = self.file.size - self.tell() if size is None or size < 0 else size
        if count > _MAX_DIRECTORY:
            raise ValueError(f"the directory of the zip file has {count} bytes; expected at most {_MAX_DIRECTORY}")
        return super().read(count)


def _zip_records(file: WeightFile) -> dict[str, zipfile.ZipInfo]:
    with zipfile.ZipFile(cast("IO[bytes]", _CautiousCursor(file))) as archive:
        infos = archive.infolist()
    records = {info.filename: info for info in infos}
    if len(records) != len(infos):
        raise ValueError("two records of the zip file have the same name")
    for info in infos:
        name = shortened(info.filename)
        if info.flag_bits & 0x1:
            raise ValueError(f"record {name} is encrypted; expected none to be")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError(f"record {name} is compressed; torch.save stores without compression")
        if info.file_size > file.size:
            raise ValueError(f"record {name} of {info.file_size} bytes in a file of {file.size}")
    return records


def _data_offset(file: WeightFile, record: zipfile.ZipInfo) -> int:
    """Return where the bytes of a record start; only its local header knows, which torch pads to align them."""
    header = file.read(30, record.header_offset)
    if len(header) != 30 or header[:4] != _RECORD:
        raise ValueError(f"record {shortened(record.filename)} has no header at byte {record.header_offset}")
    start = record.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:], "little")
    if start + record.file_size > file.size:
        raise ValueError(f"record {shortened(record.filename)} ends at byte {start + record.file_size} of {file.size}")
    return start


def _open_legacy(file: WeightFile, stream: BinaryIO) -> Any:
    """Read the format of torch before 1.6: five pickles, then the storages, each with its length in front.

    The object comes before its storages: its tensors are put in their places when those are known.
    """
    version = run_pickle(Job(file, _no_storage), stream, file.size)
    system = run_pickle(Job(file, _no_storage), stream, file.size)
    if version != _LEGACY_VERSION:
        raise ValueError(f"version {shortened(version)} of the format; expected {_LEGACY_VERSION}")
    if not isinstance(system, dict) or cast("dict[str, Any]", system).get("little_endian") is not True:
        raise ValueError("the bytes are not in little-endian order")
    job = Job(file, locate=None)
    result = _checked(run_pickle(job, stream, file.size))
    keys = run_pickle(Job(file, _no_storage), stream, file.size)
    names = cast("list[Any]", keys) if isinstance(keys, list) else []
    # Only strings are compared: lists of lists of lists can take for ever.
    if not all(isinstance(name, str) for name in names) or sorted(names) != sorted(job.storages):
        raise ValueError("the list of storages does not name those that the tensors refer to")
    starts: dict[str, int] = {}
    for key in cast("list[str]", names):
        storage = job.storages[key]
        count = int.from_bytes(stream.read(8), "little", signed=True)
        if count != storage.count:
            raise ValueError(f"storage {shortened(key)} has {count} elements; the tensors expect {storage.count}")
        starts[key] = stream.tell()
        if starts[key] + storage.nbytes > file.size:
            raise ValueError(f"storage {shortened(key)} ends at byte {starts[key] + storage.nbytes} of {file.size}")
        stream.seek(storage.nbytes, io.SEEK_CUR)
    if stream.tell() != file.size:
        raise ValueError(f"{file.size - stream.tell()} bytes follow the last storage")
    job.place(starts)
    return result


def _checked(result: Any) -> Any:
    """Return the result if any caller can traverse it: no cycles, neither too deep nor too large.

    Post-order without recursion. `known` holds depth and size of what has been left; `entered` is the path to here.
    """
    known: dict[int, tuple[int, int]] = {}
    entered: set[int] = set()
    waiting = [(result, False)]
    while waiting:
        value, leaving = waiting.pop()
        if leaving:
            entered.discard(id(value))
            parts = [known[id(part)] for part in _parts(value)]
            known[id(value)] = _extent(
                1 + max((depth for depth, _ in parts), default=0), 1 + sum(size for _, size in parts)
            )
        elif id(value) in entered:
            raise ValueError("an object contains itself")
        elif id(value) not in known:
            entered.add(id(value))
            _extent(len(entered), len(entered))
            waiting.append((value, True))
            waiting.extend((part, False) for part in _parts(value) if id(part) not in known)
    return result


def _extent(depth: int, size: int) -> tuple[int, int]:
    if depth > _MAX_DEPTH or size > MAX_STEPS:
        raise ValueError(f"{size} values nested {depth} deep; expected at most {MAX_STEPS} and {_MAX_DEPTH}")
    return depth, size


def _parts(value: Any) -> list[Any]:
    """Return the values inside a value; keys and the items of sets have been checked to be plain."""
    if isinstance(value, dict):
        return list(cast("dict[Any, Any]", value).values())
    if isinstance(value, list | tuple):
        return list(cast("list[Any]", value))
    if isinstance(value, argparse.Namespace):
        return list(vars(value).values())
    if isinstance(value, PickledModule):
        return [value.state]
    if isinstance(value, str | bytes | int | float | set | frozenset | LazyTensor | None):
        return []
    raise ValueError(f"it holds {shortened(value)} itself, which is no data")
