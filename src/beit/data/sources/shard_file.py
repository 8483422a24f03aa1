"""Shards wherever they lie: on a disk, or on an object store or web server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, cast

from beit.errors import DataError, GoneError
from beit.files import open_regular
from beit.hub import RemoteFile

ShardFile = Path | RemoteFile
ShardState = tuple[int, str]  # its size, and what changes with its content


def located(file: ShardFile) -> ShardFile:
    """Return a shard that can be opened; one that lies elsewhere with its size and version.

    Raises:
        DataError: If it is not there.
        ConnectionLostError: If it cannot be reached.
    """
    return file if isinstance(file, Path) else file.located()


def open_shard(file: ShardFile, ahead: int) -> IO[bytes]:
    """Open a shard to read it.

    Args:
        file: The shard.
        ahead: Bytes to fetch at once of one that lies elsewhere.

    Raises:
        OSError: If a file on a disk cannot be opened or is no regular file.
        DataError: If one elsewhere has changed.
    """
    return open_regular(file) if isinstance(file, Path) else cast("IO[bytes]", file.open(ahead))


def state_of(file: ShardFile) -> ShardState:
    """Return the size of a shard and what changes with its content.

    Raises:
        DataError: If it is not there.
    """
    if isinstance(file, RemoteFile):
        return file.size, file.version
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None
    return _state(status)


def unchanged(path: Path, before: ShardState | None, now: os.stat_result) -> None:
    """Refuse a shard that was written since it was opened: numbers and labels of its pictures are those of before.

    Raises:
        GoneError: If it was.
    """
    if before is not None and _state(now) != before:
        raise GoneError(
            f"{path} was written since it was opened ({now.st_size:,} bytes, {before[0]:,} before); expected shards "
            "to stay as they are: bring the former back, and the same command does the rest, or start again"
        )


def _state(status: os.stat_result) -> ShardState:
    return status.st_size, str(status.st_mtime_ns)


def folder_of(file: ShardFile) -> str:
    """Return what a shard lies in, for messages."""
    return str(file).rpartition("/")[0]
