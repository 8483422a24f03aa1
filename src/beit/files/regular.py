"""Opening of regular files alone: a named pipe blocks whoever opens it, and a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from beit.errors import BeitError, shortened

_MOST_PART, _MOST_PATH = 255, 4000  # bytes of a name, characters of a path
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def check_path(path: object, expected: str, error: type[BeitError]) -> None:
    """Refuse what no file system takes for a path, before one is asked, which raises errors of many kinds.

    Raises:
        BeitError: Of the class `error`, if it is too long or holds a NUL.
    """
    parts = os.fspath(path).split(os.sep) if isinstance(path, str | os.PathLike) else []
    longest = max((len(str(part).encode("utf-8", "surrogatepass")) for part in parts), default=0)
    if longest > _MOST_PART or len(str(path)) > _MOST_PATH or "\0" in str(path):
        raise error(f"{shortened(str(path))} is no path, nor a name on the hub; expected {expected}")


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file, or a link to one, to be read; without waiting, whatever it is.

    Raises:
        OSError: If it cannot be opened or is no regular file.
    """
    return os.fdopen(regular_descriptor(path), "rb")


def read_regular(path: str | Path, most: int) -> bytes:
    """Return the content of a regular file of at most so many bytes.

    Raises:
        OSError: If it cannot be read, is no regular file, or is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size  # asked first: of a larger one nothing is read
        content = file.read() if size <= most else b""
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it has {max(size, len(content))} bytes; expected at most {most}", str(path))
    return content


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
