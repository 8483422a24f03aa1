"""Disk operations: making folders, syncing files, and the error of a full disk."""

from __future__ import annotations

import os
from pathlib import Path

from beit.errors import StorageError

REMEDY = "free space or choose another folder"


def make_folder(folder: str | Path, remedy: str = REMEDY) -> None:
    """Make a folder and those above it, so that their names survive a power cut too.

    Raises:
        StorageError: If that is not possible.
    """
    folder = Path(folder)
    try:
        new = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in new:
            sync(path.parent)
    except OSError as error:
        raise storage_error(folder, error, remedy) from error


def move_into_place(finished: Path, path: Path) -> None:
    """Give a file that was written under another name of the same folder its real one, synced.

    Raises:
        StorageError: If that is not possible.
    """
    try:
        sync(finished)
        os.replace(finished, path)
        sync(path.parent)
    except OSError as error:
        raise storage_error(path, error, REMEDY) from error


def storage_error(path: Path, error: BaseException, remedy: str) -> StorageError:
    """Return the error for a file that cannot be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip().split("\n")[0]
    return StorageError(f"cannot write {path}: {reason}; {remedy}")


def settle(path: Path, mode: int) -> None:
    """Give a file its mode, and make it survive a power cut."""
    if path.stat().st_mode & 0o777 != mode & 0o777:
        path.chmod(mode & 0o777)
    sync(path)


def sync(path: Path) -> None:
    """Make a file or folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder(kind: str) -> Path:
    """Return the folder of what can be made again: below XDG_CACHE_HOME, which is ~/.cache unless set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beit" / kind
