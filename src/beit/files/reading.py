"""Reading of small files of ours; errors name the damaged file, the expectation and the remedy."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beit.errors import BeitError, CheckpointError, ConfigError
from beit.files.regular import read_regular
from beit.files.strict import MOST_BYTES, MOST_YAML_BYTES, strict_json, strict_yaml


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
