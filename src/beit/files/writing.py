"""Writing of files and folders: whole, synced and with the mode of the umask under their name, or not at all."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO, cast

from beit.errors import BeitError, StorageError
from beit.files.places import check_file_place, check_folder_place

REMEDY = "free space or choose another folder"
_PROBE = bytes(2**16)
_LEFTOVER = re.compile(r"\..+\.[0-9]+\.(tmp|old)", re.DOTALL)
_IN_ITS_PLACE = "something else lies there: remove or rename it, or choose another folder"
_NO_RIGHT = "change its permissions or choose another folder"
_REMEDIES = {
    errno.ENOENT: "its folder has gone: give it back its name, or choose another one",
    errno.ENOTDIR: _IN_ITS_PLACE,
    errno.EISDIR: _IN_ITS_PLACE,
    errno.EEXIST: _IN_ITS_PLACE,
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "it cannot be written at all: choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def atomic_file(path: str | Path, remedy: str = REMEDY) -> Generator[Path]:
    """Yield a temporary, empty file next to `path`; on success sync it and give it the real name, else remove it.

    A link of that name is replaced, and what it leads to is untouched.

    Raises:
        StorageError: If writing fails, for example on a full disk, or something else than a file has the name. What
            stood at `path` is untouched.
    """
    path = Path(path)
    check_file_place(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _cleaned_up(path, temporary, remedy):
        make_folder(path.parent, remedy)
        temporary.unlink(missing_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777  # what the umask gives, whatever a library makes of the file
        yield temporary
        settle(temporary, mode)
        os.replace(temporary, path)
        sync(path.parent)


@contextmanager
def atomic_stream(path: str | Path, remedy: str = REMEDY) -> Generator[BinaryIO]:
    """Yield a stream to write a file through as `atomic_file` does, which never fails before its end.

    For writers of torch, which end the whole process where a write fails (an exception leaves a destructor in C++).

    Raises:
        StorageError: If a write failed, for example on a full disk. What stood at `path` is untouched.
    """
    with atomic_file(path, remedy) as temporary, _PatientFile(temporary, "wb") as stream:
        yield cast(BinaryIO, stream)
        if stream.error is not None:
            raise stream.error


@contextmanager
def atomic_folder(path: str | Path, remedy: str = REMEDY) -> Generator[Path]:
    """Yield a temporary folder next to `path`; on success sync all of it and give it the real name.

    A folder that stood at `path` is replaced; behind a link, the one that the link leads to.

    Raises:
        StorageError: If writing fails, for example on a full disk, or something else than a folder has the name. What
            stood at `path` is untouched.
    """
    path = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    check_folder_place(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _cleaned_up(path, temporary, remedy):
        make_folder(path.parent, remedy)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        mode, made = temporary.stat().st_mode & 0o666, identity_of(temporary)
        yield temporary
        if identity_of(temporary) != made:  # moved meanwhile; what was written since has made another one
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(temporary))
        for file in temporary.rglob("*"):
            settle(file, file.stat().st_mode if file.is_dir() else mode)
        sync(temporary)
        if path.exists():  # a folder cannot be replaced in one step: move the old one out of the way first
            outgoing = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(outgoing)
            temporary.rename(path)
            shutil.rmtree(outgoing)
        else:
            temporary.rename(path)
        sync(path.parent)


def write_bytes(path: str | Path, content: bytes, remedy: str = REMEDY) -> None:
    """Write a file, whole or not at all.

    Raises:
        StorageError: If writing fails. What stood at `path` is untouched.
    """
    with atomic_file(path, remedy) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str, remedy: str = REMEDY) -> None:
    """Write a text file in UTF-8, whole or not at all; undecodable names of files are kept as they are.

    Raises:
        StorageError: If writing fails. What stood at `path` is untouched.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"), remedy)


def write_json(path: str | Path, content: Any, indent: int = 2) -> None:
    """Write values as indented JSON, whole or not at all.

    Raises:
        StorageError: If writing fails. What stood at `path` is untouched.
    """
    write_text(path, json.dumps(content, indent=indent) + "\n")


def discard_leftovers(folder: str | Path) -> None:
    """Tidy up after a killed process in a folder: remove unfinished files, finish half-done replacements."""
    _discard(list(Path(folder).glob(".*.tmp")), list(Path(folder).glob(".*.old")))


def discard_leftovers_of(path: str | Path) -> None:
    """Do the same for one file or folder: tidy up what a killed process that wrote it left beside it, or inside."""
    path = Path(path)
    named = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.(tmp|old)", re.DOTALL)
    found = [entry for entry in path.parent.glob(f".{escape(path.name)}.*") if named.fullmatch(entry.name)]
    if path.is_dir():
        found += [entry for entry in path.glob(".*") if _LEFTOVER.fullmatch(entry.name)]
    _discard([entry for entry in found if entry.suffix == ".tmp"], [entry for entry in found if entry.suffix == ".old"])


def _discard(unfinished: Iterable[Path], outgoing: Iterable[Path]) -> None:
    for leftover in unfinished:
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    for old in outgoing:
        replaced = old.with_name(old.name.removeprefix(".").rsplit(".", 2)[0])
        if not replaced.exists():
            old.rename(replaced)
        elif old.is_dir():
            shutil.rmtree(old)


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


def cache_folder(kind: str) -> Path:
    """Return the folder of what can be made again: below XDG_CACHE_HOME, which is ~/.cache unless set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beit" / kind


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
    """Return the error for a file that cannot be written; the remedy is for a full disk, others follow the error."""
    remedy = _REMEDIES.get(error.errno, remedy) if isinstance(error, OSError) and error.errno else remedy
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip().split("\n")[0]
    return StorageError(f"cannot write {path}: {reason}; {remedy}")


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Return the identity of a folder, whatever its name; None if there is no such folder."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


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


@contextmanager
def _cleaned_up(path: Path, temporary: Path, remedy: str) -> Generator[None]:
    try:
        yield
    except BaseException as error:
        # libraries written in C++ say of a full disk what they like
        full = isinstance(error, Exception) and not isinstance(error, BeitError | OSError) and _is_full(temporary)
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):  # there may be no such folder
                temporary.unlink()
        if isinstance(error, BeitError) or not (full or isinstance(error, OSError)):
            raise
        raise storage_error(path, error, remedy) from error


def _is_full(temporary: Path) -> bool:
    """Return whether a little more cannot be written beside a file or folder."""
    probe = temporary.with_name(f"{temporary.name}.probe")
    try:
        probe.write_bytes(_PROBE)
        sync(probe)
    except OSError:
        return True
    finally:
        probe.unlink(missing_ok=True)
    return False


class _PatientFile(io.FileIO):
    """A file that is written until a write fails, and then takes everything that is given to it."""

    error: OSError | None = None

    def write(self, content: Any, /) -> int:
        rest = memoryview(content)
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return len(content)
