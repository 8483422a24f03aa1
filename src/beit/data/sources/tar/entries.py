"""Entries of a tar file from anybody: read by `tarfile`, with a bound on every step.

`tarfile` believes the sizes in a file. A negative one sends it back to where it was, for ever (CVE-2025-8194), a large
one has it ask for that much memory, and the map of a sparse file may have no end.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import IO, Any, cast

from beit.errors import DataError, shortened

_MOST_HEADER = 2**17  # bytes of all headers of an entry: its name, and the extensions before it
_MOST_SMALL = 2**20  # of an entry that is read whole: a class, or the JSON beside a picture


class TarEntries:
    """The entries of an open tar file, one after another.

    Args:
        file: The file, at the start of an entry.
    """

    def __init__(self, file: IO[bytes]) -> None:
        start = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(start)
        self._file = _Bounded(file)
        untyped: Any = tarfile
        self._tar: Any = untyped.TarFile(fileobj=self._file)

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Yield the entries.

        Raises:
            DataError: If one has a size that no file has, or is sparse.
            TarError: If it is no tar file, as whatever else `tarfile` meets.
        """
        offset = -1
        while (member := self._next()) is not None:
            self._tar.members = []  # it would keep the entries of the whole shard
            name = shortened(member.name)
            if member.issparse():
                raise DataError(f"it holds the sparse file {name}; pack it again without --sparse")
            if member.size < 0 or self.end <= offset:
                raise DataError(f"it holds {name} of {member.size} bytes; expected no size below zero")
            if member.isreg() and member.offset_data + member.size > self._size:
                end = member.offset_data + member.size
                raise DataError(f"it is cut off or damaged in {name}, which ends at byte {end} of {self._size}")
            offset = self.end
            yield member

    @property
    def end(self) -> int:
        """Place of the entry after the last one."""
        return cast(int, self._tar.offset)

    def content(self, member: tarfile.TarInfo) -> bytes:
        """Return the bytes of a small entry.

        Raises:
            DataError: If it is none.
        """
        if member.size > _MOST_SMALL:
            name = shortened(member.name)
            raise DataError(f"it holds {name} of {member.size} bytes; expected at most {_MOST_SMALL} of a label")
        self._file.left = 2 * _MOST_SMALL
        content = self._tar.extractfile(member)
        return content.read() if content is not None else b""

    def _next(self) -> tarfile.TarInfo | None:
        self._file.left = _MOST_HEADER
        return self._tar.next()


class _Bounded:
    """File that gives so many bytes and no more; what is asked for at its end counts too, or a loop might never end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.left = _MOST_HEADER

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a header of {size} bytes; expected at most {_MOST_HEADER} in all before a file")
        self.left -= size
        return self._file.read(size)
