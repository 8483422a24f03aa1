"""Reading of files: regular ones alone, with errors that name the damaged file, the expectation and the remedy.

A named pipe would block whoever opens it, and a device may never end.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from beit.errors import BeitError, CheckpointError, ConfigError, shortened
from beit.files.places import KINDS
from beit.files.strict import MOST_BYTES, MOST_YAML_BYTES, strict_json, strict_yaml

_MOST_PART, _MOST_PATH = 255, 4000  # bytes of a name, characters of a path
_END, _COMPARED = 2**14, 128  # bytes, files


def size_of(path: Path) -> int | str:
    """Return the size of a file in bytes, "missing" of one that has gone since it was listed."""
    try:
        return path.stat().st_size
    except OSError:
        return "missing"


def end_of(path: Path) -> str:
    """Return the size of a file and a hash of its end, in which most files differ; "missing" of one that has gone."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _END))
            return f"{size} {hashlib.sha256(file.read(_END)).hexdigest()}"
    except OSError:
        return "missing"


def file_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Yield path and size of every file, and of some, evenly spaced, a hash of the end: others may have equal sizes."""
    step = max(1, -(-len(paths) // _COMPARED))
    for number, path in enumerate(paths):
        yield f"{path} {size_of(path) if number % step else end_of(path)}"


def read_json(
    path: str | Path,
    expected: str,
    remedy: str = "fetch or save it again",
    error: type[BeitError] = ConfigError,
    finite: bool = True,
) -> dict[str, Any]:
    """Return the JSON object in a small file.

    Args:
        path: The file.
        expected: What it is, for messages.
        remedy: What helps if it is damaged.
        error: What is raised.
        finite: Refuse NaN and infinity.

    Raises:
        BeitError: Of that class, if the file is missing, too large, or holds something else.
    """
    return parse_json(_text(Path(path), "JSON", expected, remedy, error), str(path), expected, remedy, error, finite)


def parse_json(
    text: str,
    source: str,
    expected: str,
    remedy: str = "fetch or save it again",
    error: type[BeitError] = ConfigError,
    finite: bool = True,
) -> dict[str, Any]:
    """Return the JSON object in a text; `source` is where it stands, for messages, as the rest is.

    Raises:
        BeitError: Of the class `error`, if it holds something else.
    """
    try:
        return _object(strict_json(text, finite))
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
    text = _text(Path(path), "YAML", expected, remedy, error)
    try:
        return _object(strict_yaml(text))
    except (ValueError, RecursionError) as reason:
        raise error(f"{path} is not readable YAML ({reason}); expected {expected}; {remedy}") from None


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
        kind = KINDS.get(stat.S_IFMT(mode), "no file of bytes")
        raise OSError(errno.EINVAL, f"it is {kind}; expected a regular file", str(path))
    return descriptor


def _text(path: Path, form: str, expected: str, remedy: str, error: type[BeitError]) -> str:
    try:
        return read_regular(path, MOST_YAML_BYTES if form == "YAML" else MOST_BYTES).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{path} does not exist; expected {expected}") from None
    except (OSError, UnicodeDecodeError) as reason:
        said = reason.strerror if isinstance(reason, OSError) else reason
        raise error(f"{path} is not readable {form} ({said}); expected {expected}; {remedy}") from None


def _object(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not an object")
    return content
