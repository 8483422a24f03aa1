"""Errors that this package raises on purpose.

Every message holds the value met, what was expected, and what to do about it. The command line prints the message
alone, without a traceback; everything else that escapes is a bug. Warnings are made by `warn`.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from typing import cast
from unicodedata import category

_BETWEEN = ("beit", "torch")  # whose lines lie between a user's and a warning; torch calls what its modules override
_BEGINNING, _END = 2500, 1400  # characters of a message that is too long: the values met and the remedy


class BeitError(Exception):
    """Base class of every error that a user can cause and fix.

    Its message is one line of at most 4,000 characters, whatever is quoted in it.
    """

    def __init__(self, *message: object) -> None:
        super().__init__(*(_cut(_in_a_line(part)) if isinstance(part, str) else part for part in message))


class ConfigError(BeitError, ValueError):
    """An option, setting or argument has a value that cannot work."""


class DataError(BeitError, ValueError):
    """Pictures or labels are missing, broken or unusable.

    Args:
        message: The value, the expectation and the remedy.
        otherwise: Another remedy, for who runs the program: a setting, or a library to install. It ends the message.

    Attributes:
        for_clients: The message without that, for who only sends pictures to a service.
    """

    def __init__(self, *message: object, otherwise: str = "") -> None:
        super().__init__(*message)
        self.for_clients = str(self)
        if otherwise:
            super().__init__(f"{self.for_clients}, or {otherwise}")


class CheckpointError(BeitError, RuntimeError):
    """A file of weights is missing, damaged, or does not fit the model."""


class MismatchError(CheckpointError, ValueError):
    """Weights do not fit the model.

    It is a `RuntimeError`, as torch raises, and a `ValueError`, which transformers raises for models of Flax.
    """


class UnavailableError(CheckpointError, ConfigError, OSError):
    """A model, its config or its processor is not where it is looked for, cannot be reached, or is no JSON.

    It is an `OSError` too, as code that is written for transformers expects.
    """


class MissingExtraError(BeitError, ImportError):
    """An optional library is needed that is not installed."""


class StorageError(BeitError, OSError):
    """A file could not be written; what stood there before is untouched."""


class ConnectionLostError(BeitError):
    """Pictures on another machine cannot be reached any more; what was going on can be continued."""


class GoneError(BeitError):
    """Pictures that were listed have gone, or are others now: none counts as broken, and the job can be continued."""


class RunPaused(Exception):  # noqa: N818  # nothing went wrong
    """A run was asked to stop, has saved everything, and continues when it is started again.

    Args:
        message: Where the run was saved, for the user.
        interrupted: Whether the user asked with Ctrl-C, rather than a cluster.
    """

    def __init__(self, message: str, interrupted: bool = False) -> None:
        super().__init__(message)
        self.interrupted = interrupted


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and name the line that led here from outside this package, however many of its own lie between."""
    level, frame = 2, sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(_cut(message), category, stacklevel=level)


def missing_extra(library: str, extra: str) -> MissingExtraError:
    """Return the error for an optional library that is absent, naming the extra which brings it."""
    return MissingExtraError(
        f"the library '{library}' is not installed; in the checkout of beit run: pip install -e '.[{extra}]'"
    )


def missing_data(path: str) -> DataError:
    """Return the error for pictures that are not where they are looked for."""
    if "://" in path:
        return DataError(
            f"data path {shortened(path)} is an address that nothing is fetched from; expected tar or parquet files on "
            "s3://, gs:// or https://, or hub:owner/name; or download it, and name the folder"
        )
    return DataError(
        f"data path {shortened(path)} does not exist; expected a folder of pictures, parquet or tar files, or "
        "hub:owner/name"
    )


def missing_picture(place: object) -> DataError:
    """Return the error for a picture to predict that is not where it is looked for."""
    if "://" in str(place):
        return DataError(f"{place} is an address, and nothing is fetched; download it, and name the file")
    return DataError(f"{place} does not exist; expected a picture, a film or a folder of them")


def printable(text: str, keep: str = "") -> str:
    """Return a text from anywhere as something that is shown and not obeyed.

    Characters that steer a terminal or the direction of writing, that XML has no place for, and halves of characters,
    which no file can hold, are replaced; those in `keep`, such as line breaks, are not. Spaces of any width stay: names
    of screenshots have narrow ones, Chinese and Japanese names wide ones.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep or category(c) == "Zs" else "\ufffd" for c in text)


def _in_a_line(message: str) -> str:
    """Return a message without line breaks.

    torch puts the traceback of a loading process before one, and makes the error anew of the whole.
    """
    if re.match(r"Caught \w+ in ", message):
        message = re.sub(r"^beit\.errors\.\w+: ", "", message.rstrip().rpartition("\n")[2])
    return printable(" ".join(message.splitlines()))


def _cut(message: str) -> str:
    """Return a message without its middle where it is too long: a file may hold a name of any length."""
    left_out = len(message) - _BEGINNING - _END
    if left_out <= 100:  # more than what stands in its place
        return message
    return f"{message[:_BEGINNING]} [{left_out:,} characters left out] {message[-_END:]}"


def as_text(name: str) -> str:
    r"""Return the name of a file as text that every format can hold: what is no UTF-8 of it is written as `\udcff`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(value: object, items: int = 8) -> str:
    """Return the text of a value from a file for a message.

    It is short, and never the `repr` of a container: a maliciously nested one takes forever to print.
    """
    if isinstance(value, str | bytes):
        return repr(value[:100]) + "..." * (len(value) > 100)
    if isinstance(value, float | bool | None):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 256 else f"<int of {value.bit_length()} bits>"
    if isinstance(value, list | tuple) and items:
        shown = [shortened(item, items=0) for item in cast("Sequence[object]", value[:items])]
        return f"[{', '.join(shown + ['...'] * (len(cast('Sequence[object]', value)) > items))}]"
    return f"<{type(value).__name__}>"
