"""On-disk cache of dataset indices, which take long to make for large collections."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from beit.errors import StorageError
from beit.files import atomic_file, cache_folder

Index = TypeVar("Index")
Arrays = Mapping[str, NDArray[Any]]
_NO_INDEX = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


def cache_file(kind: str, key: bytes) -> Path:
    """Return the file of one index."""
    return cache_folder(kind) / f"{hashlib.sha256(key).hexdigest()}.npz"


def load_index(path: Path, names: Sequence[str], index: Callable[[Arrays], Index | None]) -> Index | None:
    """Return the index that a file holds, None if it is of something else or cannot be read: it is then made again.

    Args:
        path: The file.
        names: Of its arrays.
        index: Makes the index of them, None if it is of another state; what it cannot make sense of it raises.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
    except Exception:  # a damaged archive makes zipfile and numpy raise nearly anything
        return None
    try:
        return index(arrays)
    except _NO_INDEX:  # arrays of another version of this package, or of anybody
        return None


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Save the arrays of an index; where that is not possible, it is made again the next time."""
    untyped: Any = arrays
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **untyped)
    except StorageError:
        return
