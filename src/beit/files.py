"""Atomic, synced writing of files and folders: wholly there under their name, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from beit.errors import StorageError


@contextmanager
def atomic_file(path: str | Path) -> Generator[Path]:
    """Yield a temporary path next to `path`; on success sync it and give it the real name, on failure remove it.

    Raises:
        StorageError: If writing fails, for example on a full disk. What stood at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _cleaned_up(path, temporary):
        _make_folder(path.parent)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)


@contextmanager
def atomic_folder(path: str | Path) -> Generator[Path]:
    """Yield a temporary folder next to `path`; on success sync all of it and give it the real name.

    A folder that stood at `path` is replaced.

    Raises:
        StorageError: If writing fails, for example on a full disk. What stood at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _cleaned_up(path, temporary):
        _make_folder(path.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        _sync(temporary)
        if path.exists():  # a folder cannot be replaced in one step: move the old one out of the way first
            outgoing = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(outgoing)
            temporary.rename(path)
            shutil.rmtree(outgoing)
        else:
            temporary.rename(path)
        _sync(path.parent)


def discard_leftovers(folder: str | Path) -> None:
    """Tidy what a killed process left in a folder: drop unfinished names, finish half-done replacements."""
    for leftover in Path(folder).glob(".*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    for outgoing in Path(folder).glob(".*.old"):
        replaced = outgoing.with_name(outgoing.name.removeprefix(".").rsplit(".", 2)[0])
        if replaced.exists():
            shutil.rmtree(outgoing)
        else:
            outgoing.rename(replaced)


@contextmanager
def _cleaned_up(path: Path, temporary: Path) -> Generator[None]:
    try:
        yield
    except BaseException as error:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        elif temporary.exists():
            temporary.unlink()
        if isinstance(error, StorageError):
            raise
        if isinstance(error, OSError | SafetensorError):
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StorageError(f"cannot write {path}: {reason}; free space or choose another folder") from error
        raise


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that their names survive a power cut too."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Make a file or folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
