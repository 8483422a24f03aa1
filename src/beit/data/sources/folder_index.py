"""On-disk index of a large folder of pictures: all processes of a machine, and later runs, list it once."""

from __future__ import annotations

import json
import os
import sys
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.index_cache import Arrays, cache_file, load_index, save_arrays
from beit.image import FolderState, PassedOver, folder_state, walk_pictures

LARGE = 100_000  # pictures; fewer are listed in less than a second
_NAMES = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()  # as os.fsencode has them, which asks each time
_AT_ONCE = 2**14  # ends
_SETTLED = 2 * 10**9  # ns: file systems that note times in seconds could hide a change that is younger


class PathList:
    """Paths in a row, each of which takes its bytes and four more; as objects, millions of them would fill the memory.

    Args:
        paths: The paths.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        content, ends = bytearray(), array("I")
        for path in paths:
            content += path.encode(*_NAMES)
            try:
                ends.append(len(content))
            except OverflowError:
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
        return self._content[start : int(self._ends[index])].decode(*_NAMES)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for first in range(0, len(self), _AT_ONCE):  # a list of all ends would be as large as what is saved
            for end in self._ends[first : first + _AT_ONCE].tolist():
                yield self._content[start:end].decode(*_NAMES)
                start = end


def listed(folder: Path, endings: frozenset[str], passed_over: PassedOver) -> PathList:
    """Return the paths of all pictures below a folder, relative to it and in order.

    Those of a large folder are kept. They count as long as every folder in it is the same one, and no name in it was
    added, removed or changed, which its time of change says.

    Args:
        folder: The folder.
        endings: Which files count, by their lower-case endings.
        passed_over: Receives what is not read.

    Raises:
        DataError: If a folder cannot be listed.
    """
    key = json.dumps([os.path.realpath(folder), sorted(endings)])
    cached = cache_file("folders", key.encode())

    def index(stored: Arrays) -> tuple[PathList, dict[str, int], list[str]] | None:
        described = json.loads(str(stored["described"]))
        if not _unchanged(described["folders"]):
            return None
        kinds, folders = described["passed_over"]
        return PathList.from_arrays(stored["content"], stored["ends"]), dict(kinds), list(folders)

    if (kept := load_index(cached, ("content", "ends", "described"), index)) is not None:
        known, kinds, folders = kept
        passed_over.endings.update(kinds)
        passed_over.folders.extend(folders)
        return known
    began, walked = time.time_ns(), dict[str, FolderState]()
    paths = PathList(walk_pictures(folder, endings, passed_over, walked))
    if len(paths) >= LARGE and max(changed for _, _, changed in walked.values()) < began - _SETTLED:
        content, ends = paths.arrays()
        described = {"passed_over": [passed_over.endings, passed_over.folders], "folders": list(walked.items())}
        save_arrays(cached, {"content": content, "ends": ends, "described": np.array(json.dumps(described))})
    return paths


def _unchanged(folders: Sequence[tuple[str, FolderState]]) -> bool:
    """Return whether every folder is as it was when it was listed."""
    return all(folder_state(name) == tuple(state) for name, state in folders)
