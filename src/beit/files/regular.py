"""Opening of regular files alone: a named pipe blocks whoever opens it, and a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file, or a link to one, to be read; without waiting, whatever it is.

    Raises:
        OSError: If it cannot be opened or is no regular file.
    """
    return os.fdopen(regular_descriptor(path), "rb")


def regular_descriptor(path: str | Path) -> int:
    """Return the descriptor of a regular file, opened to be read.

    Raises:
        OSError: If it cannot be opened or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer opens at once
    if not stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
        os.close(descriptor)
        kind = _KINDS.get(stat.S_IFMT(mode), "no file of bytes")
        raise OSError(errno.EINVAL, f"it is {kind}; expected a regular file", str(path))
    return descriptor
