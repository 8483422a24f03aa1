"""Files of results that are numbers alone: .npy and .safetensors, with the names of the pictures beside them.

Legend: P pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from beit.errors import DataError
from beit.files import atomic_file, write_json
from beit.inference.tasks.task import Format, PredictorTask

ARRAYS: tuple[Format, ...] = ("npy", "safetensors")


def write_arrays(path: Path, rows: Iterable[str], task: PredictorTask[Any, Any], form: Format) -> None:
    """Write the arrays of rows, lines of JSON, to a file, and `NAME.pictures.json` with the picture of each beside it.

    Args:
        path: The file.
        rows: Results and the names of their pictures.
        task: The task that the rows are results of.
        form: "npy" for one array, (P, ...), in which several of a row stand on an axis after the first; "safetensors"
            for one of every name.

    Raises:
        DataError: If there are no rows, so that nothing has a shape.
        StorageError: If the disk is full; an earlier file is untouched.
    """
    names, pictures = list[str](), list[str]()

    def arrays() -> Iterable[list[NDArray[np.float32]]]:
        for line in rows:
            row = json.loads(line)
            found = task.arrays(row)
            names[:] = found
            pictures.append(row["picture"])
            yield list(found.values())

    with atomic_file(path) as temporary:
        with temporary.open("wb") as file:
            _append(file, arrays())
        if form == "safetensors":
            try:
                save_file(_tensors(temporary, names), temporary)
            except SafetensorError as error:
                raise OSError(str(error)) from error
        write_json(path.with_name(f"{path.name}.pictures.json"), {"arrays": names, "pictures": pictures}, indent=1)


def _append(file: BinaryIO, rows: Iterable[list[NDArray[np.float32]]]) -> None:
    """Write an array row by row, never whole in memory."""
    shape, count = tuple[int, ...](), 0
    for arrays in rows:
        row = arrays[0] if len(arrays) == 1 else np.stack(arrays)
        if not count:
            shape = row.shape
            _header(file, (0, *shape))
        file.write(np.ascontiguousarray(row, np.float32).tobytes())
        count += 1
    if not count:
        raise DataError("no picture has a result, so that an array has no shape; expected one at least")
    file.seek(0)
    _header(file, (count, *shape))  # which has room for the longer number


def _header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)


def _tensors(file: Path, names: list[str]) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of such a file by name, in memory, from where alone the library writes."""
    whole = np.load(file)
    arrays = [whole] if len(names) == 1 else list(np.moveaxis(whole, 1, 0))
    return {name: np.ascontiguousarray(array) for name, array in zip(names, arrays, strict=True)}
