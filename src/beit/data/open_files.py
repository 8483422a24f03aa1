"""A few files held open for reading, also by forked processes at once."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

_MOST = 64  # far below what systems allow a process


class OpenFiles:
    """Reads parts of files; the files used last stay open.

    Reading does not move the position of a file, which forked processes share.
    """

    def __init__(self) -> None:
        self._handles: OrderedDict[Path, int] = OrderedDict()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Return a part of a file, shorter than asked for only at the end of the file.

        Raises:
            OSError: If it cannot be read.
        """
        handle = self._handle(path)
        content = os.pread(handle, size, offset)
        while len(content) < size and (more := os.pread(handle, size - len(content), offset + len(content))):
            content += more
        return content

    def _handle(self, path: Path) -> int:
        if path not in self._handles:
            if len(self._handles) >= _MOST:
                os.close(self._handles.popitem(last=False)[1])
            self._handles[path] = os.open(path, os.O_RDONLY)
        self._handles.move_to_end(path)
        return self._handles[path]

    def __reduce__(self) -> tuple[type[OpenFiles], tuple[()]]:
        """Leave the handles behind: they mean nothing to a process that was not forked."""
        return OpenFiles, ()

    def __del__(self) -> None:
        for handle in self._handles.values():
            os.close(handle)
