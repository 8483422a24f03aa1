"""Files on disk: written whole and synced or not at all, with the mode of the umask, and read back by one reader.

Everything of ours that reaches a disk goes through here, and every small file of ours comes back through `read_json` or
`read_yaml`, which say which file is damaged and what to do.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from beit.errors import BeitError, CheckpointError, ConfigError, StorageError

REMEDY = "free space or choose another folder"
_MOST_BYTES = 16 * 2**20  # of JSON or YAML; a larger file is no file of ours
_PROBE = bytes(2**16)


@contextmanager
def atomic_file(path: str | Path, remedy: str = REMEDY) -> Generator[Path]:
    """Yield a temporary, empty file next to `path`; on success sync it and give it the real name, else remove it.

    Raises:
        StorageError: If writing fails, for example on a full disk. What stood at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _cleaned_up(path, temporary, remedy):
        make_folder(path.parent, remedy)
        temporary.unlink(missing_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777  # what the umask gives, whatever a library makes of the file
        yield temporary
        _settle(temporary, mode)
        os.replace(temporary, path)
        _sync(path.parent)


@contextmanager
def atomic_folder(path: str | Path, remedy: str = REMEDY) -> Generator[Path]:
    """Yield a temporary folder next to `path`; on success sync all of it and give it the real name.

    A folder that stood at `path` is replaced.

    Raises:
        StorageError: If writing fails, for example on a full disk. What stood at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _cleaned_up(path, temporary, remedy):
        make_folder(path.parent, remedy)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        mode = temporary.stat().st_mode & 0o666
        yield temporary
        for file in temporary.rglob("*"):
            _settle(file, file.stat().st_mode if file.is_dir() else mode)
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
        """Whether it has been closed."""
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
            raise _storage_error(self._path, error, self._remedy) from error


def move_into_place(finished: Path, path: Path) -> None:
    """Give a file that was written under another name of the same folder its real one, synced.

    Raises:
        StorageError: If that is not possible.
    """
    try:
        _sync(finished)
        os.replace(finished, path)
        _sync(path.parent)
    except OSError as error:
        raise _storage_error(path, error, REMEDY) from error


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
            _sync(path.parent)
    except OSError as error:
        raise _storage_error(folder, error, remedy) from error


def read_json(
    path: str | Path,
    expected: str,
    remedy: str = "fetch or save it again",
    error: type[BeitError] = ConfigError,
) -> dict[str, Any]:
    """Return the JSON object in a small file.

    Args:
        path: The file.
        expected: What it is, for messages.
        remedy: What helps if it is damaged.
        error: What is raised.

    Raises:
        BeitError: Of that class, if the file is missing, too large, or holds something else.
    """
    return parse_json(_text(Path(path), "JSON", expected, remedy, error), str(path), expected, remedy, error)


def parse_json(
    text: str,
    source: str,
    expected: str,
    remedy: str = "fetch or save it again",
    error: type[BeitError] = ConfigError,
) -> dict[str, Any]:
    """Return the JSON object in a text; `source` is where it stands, for messages, as the rest is.

    Raises:
        BeitError: Of the class `error`, if it holds something else.
    """
    try:
        return _object(json.loads(text))
    except (ValueError, RecursionError) as reason:
        raise error(f"{source} is not readable JSON ({reason}); expected {expected}; {remedy}") from None


def read_yaml(
    path: str | Path,
    expected: str,
    remedy: str,
    error: type[BeitError] = ConfigError,
) -> dict[str, Any]:
    """Return the mapping in a small YAML file, as `read_json` does.

    Raises:
        BeitError: Of the class `error`, if the file is missing, too large, or holds something else.
    """
    import yaml

    text = _text(Path(path), "YAML", expected, remedy, error)
    try:
        return _object(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError) as reason:
        said = " ".join(str(reason).split())
        raise error(f"{path} is not readable YAML ({said}); expected {expected}; {remedy}") from None


@contextmanager
def reading(path: str | Path, kind: str) -> Generator[None]:
    """Turn whatever goes wrong while a file of weights is read into a `CheckpointError` that names the file.

    A damaged file can make any line of a reader fail, so this is the one place that catches every exception.
    """
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"{path} cannot be read ({reason}); expected {kind}; check its name and rights") from None
    except Exception as error:
        reason = str(error)[:300] or type(error).__name__
        raise CheckpointError(
            f"{path} is damaged or unsafe ({reason}); expected {kind}; fetch or save it again"
        ) from None


def _text(path: Path, form: str, expected: str, remedy: str, error: type[BeitError]) -> str:
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise error(f"{path} has {size} bytes; expected {expected}, of at most {_MOST_BYTES} bytes; {remedy}")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{path} does not exist; expected {expected}") from None
    except (OSError, UnicodeDecodeError) as reason:
        raise error(f"{path} is not readable {form} ({reason}); expected {expected}; {remedy}") from None


def _object(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not an object")
    return content


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
        if isinstance(error, StorageError) or not (full or isinstance(error, OSError)):
            raise
        raise _storage_error(path, error, remedy) from error


def _storage_error(path: Path, error: BaseException, remedy: str) -> StorageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip().split("\n")[0]
    return StorageError(f"cannot write {path}: {reason}; {remedy}")


def _is_full(temporary: Path) -> bool:
    """Return whether a little more cannot be written beside a file or folder."""
    probe = temporary.with_name(f"{temporary.name}.probe")
    try:
        probe.write_bytes(_PROBE)
        _sync(probe)
    except OSError:
        return True
    finally:
        probe.unlink(missing_ok=True)
    return False


def _settle(path: Path, mode: int) -> None:
    """Give a file its mode, and make it survive a power cut."""
    if path.stat().st_mode & 0o777 != mode & 0o777:
        path.chmod(mode & 0o777)
    _sync(path)


def _sync(path: Path) -> None:
    """Make a file or folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
