"""On-disk cache of dataset indices, which take long to make for large collections."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.errors import StorageError
from beit.files import atomic_file, cache_folder


def cache_file(kind: str, key: bytes) -> Path:
    """Return the file of one index."""
    return cache_folder(kind) / f"{hashlib.sha256(key).hexdigest()}.npz"


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of an index, None if they are incomplete or cannot be read: the index is then made again."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except Exception:  # a damaged archive makes zipfile and numpy raise nearly anything
        return None


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Save the arrays of an index; where that is not possible, it is made again the next time."""
    untyped: Any = arrays
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **untyped)
    except StorageError:
        return
