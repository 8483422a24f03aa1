"""Names of pictures in a file of labels, matched to the files of a folder."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

_COMPARED = 5000  # names in the search for the nearest


class FileNames:
    """The files of a folder, found by a path as other programs write it.

    Backslashes, a leading "./", composed and decomposed letters, folders before or missing, and a missing ending make
    no difference as long as one file alone is meant.

    Args:
        paths: Their paths inside the folder, with "/" between parts.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._exact = {path: number for number, path in enumerate(paths)}
        self._number = _unique({path: _normal(path) for path in paths}, self._exact)

    def find(self, name: str) -> int | None:
        """Return the number of the file that a name means; None if there is none, or several might be meant."""
        if (number := self._exact.get(name)) is not None:
            return number
        parts = _normal(name).split("/")
        for start in range(len(parts)):  # folders that lead to the named one are dropped, the fewest that will do
            rest = "/".join(parts[start:])
            if (number := self._number.get(rest)) is not None:
                return number
            if (number := self._by_stem.get(rest)) is not None:
                return number
        return self._by_base.get(parts[0]) if len(parts) == 1 else None

    def nearest(self, name: str) -> str:
        """Return a remark that names the most similar file, or "" if none is."""
        base = _normal(name).rpartition("/")[2]
        folded = {_normal(path).rpartition("/")[2].casefold(): path for path in self._paths[:_COMPARED]}
        found = difflib.get_close_matches(base.casefold(), list(folded), n=1)
        return f", of which the nearest is {folded[found[0]]!r}" if found else ""

    @cached_property
    def _by_stem(self) -> dict[str, int]:
        """Numbers by path without an ending, of those that no other shares."""
        return _unique({path: str(PurePosixPath(path).with_suffix("")) for path in self._number}, self._number)

    @cached_property
    def _by_base(self) -> dict[str, int]:
        """Numbers by file name, with an ending and without, of those that no other shares."""
        named = _unique({path: PurePosixPath(path).name for path in self._number}, self._number)
        return _unique({path: PurePosixPath(path).stem for path in self._number}, self._number) | named


def _unique(names: Mapping[str, str], numbers: Mapping[str, int]) -> dict[str, int]:
    counts = Counter(names.values())
    return {name: numbers[path] for path, name in names.items() if counts[name] == 1}


def _normal(name: str) -> str:
    """Return a path in the one form in which paths are compared."""
    path = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return "/".join(part for part in path.split("/") if part not in ("", "."))
