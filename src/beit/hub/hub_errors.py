"""Errors of the hub, of the network and of the disk in the words of this package."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager

from beit.errors import BeitError, CheckpointError, StorageError, UnavailableError

LOG_IN = "log in with `hf auth login` or pass token=..."
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DISK_ERRORS = DISK_FULL | {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def explained_errors(repo_id: str, revision: str | None) -> Generator[None]:
    """Turn errors of the hub, of the network and of the disk into ours.

    Raises:
        UnavailableError: If the repository cannot be had.
        StorageError: If files of it cannot be kept.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # Its base is that of the HTTP library in use (requests, httpx or httpx2, depending on the version), whose own
    # errors come through as they are. RuntimeError is what hf_xet raises when a transfer breaks off.
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except BeitError:
        raise
    except (http_error, OSError, ValueError, RuntimeError) as error:
        explained = _explained(error, repo_id, revision)
        raise explained if isinstance(explained, StorageError) else UnavailableError(str(explained)) from error


def _explained(error: BaseException, repo_id: str, revision: str | None) -> BeitError:
    """Return the error of this package that says what was met, what was expected and what to do."""
    from huggingface_hub import constants, errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    hub = constants.ENDPOINT
    match error:
        case errors.HFValidationError():
            return CheckpointError(
                f"'{repo_id}' is neither a folder nor a name on the hub; expected an existing path, or 'owner/name' "
                "with letters, digits, '-', '_' and '.'"
            )
        case errors.LocalTokenNotFoundError():
            return CheckpointError(f"'{repo_id}' was asked for with token=True, but no login is saved; {LOG_IN}")
        case errors.GatedRepoError():
            return CheckpointError(
                f"access to '{repo_id}' is gated and not granted to you; accept its terms at {hub}/{repo_id}, then "
                f"{LOG_IN}"
            )
        case errors.RevisionNotFoundError():
            return CheckpointError(
                f"'{repo_id}' has no revision '{revision}'; expected a branch, tag or commit of {hub}/{repo_id}, or "
                "none for the default branch"
            )
        case errors.OfflineModeIsEnabled():
            return CheckpointError(
                f"'{repo_id}' needs the network, which HF_HUB_OFFLINE=1 turns off; unset it and run again"
            )
        case errors.LocalEntryNotFoundError():
            return _not_cached(error, repo_id, revision)
        case _ if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
            return CheckpointError(
                f"'{repo_id}' does not exist at {hub}, or is private and closed to you; check the name, and for a "
                f"private repository {LOG_IN}"
            )
        case errors.HfHubHTTPError() if status == 403:
            return CheckpointError(
                f"{hub} forbids this access to '{repo_id}' ({_first_line(error)}); use a token with the right to it: "
                f"{LOG_IN}"
            )
        case errors.HfHubHTTPError():
            passing = status is None or status == 429 or status >= 500
            remedy = "wait a little and run again" if passing else "check the name, the revision and HF_ENDPOINT"
            return CheckpointError(f"{hub} answered for '{repo_id}' with an error ({_first_line(error)}); {remedy}")
        case OSError() if error.errno in DISK_ERRORS or error.filename:
            return StorageError(
                f"cannot keep files of '{repo_id}' in {error.filename or constants.HF_HUB_CACHE}: {error.strerror}; "
                "free space or choose another folder with cache_dir=... or HF_HOME"
            )
        case ValueError() if error.__cause__ is not None:  # a forced download wraps what really happened
            return _explained(error.__cause__, repo_id, revision)
        case ValueError():
            return CheckpointError(
                f"'{repo_id}' cannot be used as asked ({_first_line(error)}); check the names of file, subfolder and "
                "revision"
            )
        case _:
            return CheckpointError(
                f"the connection to {hub} failed or was cut while working on '{repo_id}' ({_first_line(error)}); check "
                "the network and run again to continue: what is complete is kept"
            )


def _not_cached(error: BaseException, repo_id: str, revision: str | None) -> BeitError:
    """Return the error for a file that is not cached: the network is off on purpose, or its use failed."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if error.__cause__ is not None and not isinstance(error.__cause__, OfflineModeIsEnabled):
        return _explained(error.__cause__, repo_id, revision)
    at_revision = "" if revision is None else f" at revision '{revision}'"
    return CheckpointError(
        f"'{repo_id}'{at_revision} is not in the local cache and the network is off (HF_HUB_OFFLINE or "
        "local_files_only); fetch it once with the network on, or pass the cache_dir that holds it"
    )


def _first_line(error: BaseException) -> str:
    return next((line.strip(" .") for line in str(error).splitlines() if line.strip(" .")), type(error).__name__)
