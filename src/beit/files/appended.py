"""Append-only files that grow by whole records: logs, tokens, downloads."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from beit.files.places import check_file_place
from beit.files.writing import REMEDY, make_folder, storage_error


class AppendedFile:
    """A file that grows by whole records; one that cannot be written whole is taken back.

    Args:
        path: The file; made if needed.
        keep: How many of its bytes to keep; None: all.
        remedy: What helps where the disk is full.

    Raises:
        StorageError: If it cannot be opened for writing.
    """

    def __init__(self, path: str | Path, keep: int | None = None, remedy: str = REMEDY) -> None:
        self._path, self._remedy = Path(path), remedy
        check_file_place(self._path)  # a named pipe would be waited for
        with self._explained():
            make_folder(self._path.parent, remedy)
            self._file = self._path.open("ab", buffering=0)
            if keep is not None:
                self._file.truncate(keep)
            self._size = self._path.stat().st_size

    def append(self, content: bytes) -> None:
        """Write one record at the end.

        Raises:
            StorageError: If there is no room for it; the records before are kept.
        """
        with self._explained():
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(self._size)
                raise
        self._size += len(content)

    def sync(self) -> None:
        """Make what was written survive a power cut.

        Raises:
            StorageError: If it cannot.
        """
        with self._explained():
            os.fsync(self._file.fileno())

    @property
    def closed(self) -> bool:
        """Return whether it has been closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(self._path, error, self._remedy) from error
