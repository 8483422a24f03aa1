"""Paths of a large collection, kept in few bytes."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PathList:
    """Paths in a row, each of which takes its bytes and four more; as objects, millions of them would fill the memory.

    Args:
        paths: The paths.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        content, ends = bytearray(), array("I")
        for path in paths:
            content += os.fsencode(path)
            if ends.typecode == "I" and len(content) >= 2**32:
                ends = array("Q", ends)
            ends.append(len(content))
        self._ends = np.frombuffer(ends, ends.typecode)
        self._content = bytes(content)

    @classmethod
    def from_arrays(cls, content: NDArray[np.uint8], ends: NDArray[Any]) -> PathList:
        """Return the paths that `arrays` gave."""
        paths = cls(())
        paths._content, paths._ends = content.tobytes(), ends
        return paths

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Return the bytes of all paths, one behind the other, and where each of them ends (P,)."""
        return np.frombuffer(self._content, np.uint8), self._ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        index = range(len(self))[index]
        start = int(self._ends[index - 1]) if index else 0
        return os.fsdecode(self._content[start : int(self._ends[index])])

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in map(int, self._ends):  # a list of them would be as large as what is saved
            yield os.fsdecode(self._content[start:end])
            start = end
