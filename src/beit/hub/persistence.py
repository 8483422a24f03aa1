"""Patience with a network: what passes is tried again, what lasts is said in words."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from beit.errors import BeitError, ConnectionLostError, DataError

Result = TypeVar("Result")
_answered = set[bool]()  # holds True once a server has answered this process
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds between tries
_TOO_BUSY = {408, 425, 429}  # HTTP's ways to say: later
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError"}


def persist(name: str, call: Callable[[], Result]) -> Result:
    """Return what a call to a server gives; one that fails for a reason that may pass is tried again for half a minute.

    A host whose name cannot be resolved is no such reason until one has answered: a running job waits for its network.

    Args:
        name: Of what is asked for, for messages.
        call: The call.

    Raises:
        DataError: If the reason lasts.
        ConnectionLostError: If it does not pass in time.
    """
    for wait in (*_WAITS, None):
        try:
            result = call()
            _answered.add(True)
            return result
        except BeitError:
            raise
        except Exception as error:  # every store has errors of its own
            if (ours := next((cause for cause in _causes(error) if isinstance(cause, BeitError)), None)) is not None:
                raise ours from None
            if "range requests" in str(error):  # as fsspec says it
                raise no_ranges(name) from None
            if (reason := _lasting(error)) is not None:
                raise DataError(f"{name} cannot be read: {reason}") from error
            if not _answered and any(isinstance(cause, socket.gaierror) for cause in _causes(error)):
                raise DataError(
                    f"{name} cannot be read: its host cannot be resolved; check the address and the network, or name a "
                    "folder or files on this machine"
                ) from error
            if wait is None:
                said = next(iter(str(error).splitlines()), "") or type(error).__name__
                raise ConnectionLostError(
                    f"{name} cannot be reached any more ({said}); check the network: the same command continues the run"
                ) from error
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def no_ranges(name: str) -> DataError:
    """Return the error for a file of which only the whole can be had."""
    return DataError(
        f"{name} cannot be read: its server gives no ranges of bytes; expected one that does (nginx, Apache, any "
        "object store), or download the files and name their folder"
    )


def _lasting(error: Exception) -> str | None:
    """Return the reason of an error that another try would meet again, None if it may pass."""
    causes = list(_causes(error))
    status = next((number for cause in causes if (number := _status(cause)) is not None), None)
    if {type(cause).__name__ for cause in causes} & _NO_CREDENTIALS:
        return (
            "there are no credentials for it; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (s3), or "
            "log in with gcloud (gs); for a public bucket set FSSPEC_S3_ANON=true"
        )
    if status in (401, 403) or isinstance(error, PermissionError):
        return "access is refused; check the address and the credentials"
    if status in (404, 410) or _is_missing(error, causes):
        return "there is no such bucket" if "bucket" in str(error).lower() else "there is no such file"
    if status == 412 or any(type(cause).__name__ == "FileExpired" for cause in causes):
        return "it has changed since it was listed; start again"
    if status is not None and 400 <= status < 500 and status not in _TOO_BUSY:
        return f"its server answers HTTP {status}"
    return str(error) if isinstance(error, TypeError | ValueError | NotImplementedError) else None


def _is_missing(error: Exception, causes: list[BaseException]) -> bool:
    """Return whether a file is missing; fsspec says so of any failure to ask a web server about it."""
    lost = (isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError) for cause in causes)
    web = (type(cause).__module__.startswith("aiohttp") for cause in causes)
    return isinstance(error, FileNotFoundError) and not any(lost) and not any(web)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error of aiohttp or gcsfs carries."""
    module = type(error).__module__
    # of the errors of aiohttp that have a code, some say 400 of an answer that was cut off
    number = getattr(error, "status" if module.startswith("aiohttp") else "code", None)
    return number if isinstance(number, int) and module.startswith(("aiohttp", "gcsfs")) else None
