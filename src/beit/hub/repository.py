"""Files of the Hugging Face hub: fetched into its ordinary cache, or pushed to it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from beit.errors import BeitError, CheckpointError, StorageError, UnavailableError
from beit.hub.included import included_folder
from beit.hub.network import lost_hub, need_hub, not_found

# huggingface_hub is imported inside the functions: whoever only reads local folders should not pay for loading it.

LOG_IN = "log in with `hf auth login` or pass token=..."
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DISK_ERRORS = DISK_FULL | {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class HubOptions:
    """Options of the hub: revision, token, cache and network.

    Attributes:
        revision: Branch, tag or commit; the hub's default branch if None.
        token: Access token; None uses the saved login, False sends none.
        cache_dir: Where fetched files are kept; the cache of huggingface_hub if None.
        local_files_only: Never use the network, as with HF_HUB_OFFLINE=1.
        force_download: Fetch anew what the cache already holds.
        subfolder: Folder of the repository in which the model lies.
    """

    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    force_download: bool = False
    subfolder: str = ""

    @property
    def offline(self) -> bool:
        """Return whether the network must not be used."""
        from huggingface_hub import constants

        return self.local_files_only or constants.HF_HUB_OFFLINE


def is_hub_name(name: str) -> bool:
    """Return whether `name` has the form of a hub name ("name" or "owner/name") and is no path on this machine."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not Path(name).exists()


_CACHED = ("models--", "datasets--")  # begin the names of folders of the cache


def hub_file(repo_id: str, filename: str, options: HubOptions) -> Path | None:
    """Return the local path of one file of a hub repository, or None if the repository has no such file.

    What the package brings is taken from there. Else the file is downloaded into the cache of huggingface_hub if it is
    not there yet. Offline, or where the host of the hub cannot be resolved, a file counts as absent from the repository
    if other files of that revision are cached and this one is not.

    Raises:
        CheckpointError: If the repository or revision cannot be reached, or is not cached when offline.
        StorageError: If the file cannot be written, for example on a full disk.
    """
    if (folder := included_folder(repo_id)) is not None:
        path = folder / options.subfolder / filename
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if options.force_download and options.offline:
        raise CheckpointError(
            f"force_download=True asks for '{repo_id}' anew, but the network is off (HF_HUB_OFFLINE or "
            "local_files_only); drop one of the two"
        )
    host = None if options.offline else lost_hub()
    if host is not None:
        return _cached_file(repo_id, filename, options, host)
    with explained_errors(repo_id, options.revision):
        try:
            path = hf_hub_download(
                repo_id,
                filename,
                subfolder=options.subfolder or None,
                revision=options.revision,
                token=options.token,
                cache_dir=options.cache_dir,
                local_files_only=options.local_files_only,
                force_download=options.force_download,
            )
        except LocalEntryNotFoundError:  # means "not cached", although it is a kind of EntryNotFoundError
            if _known_absent(repo_id, filename, options):
                return None
            raise
        except EntryNotFoundError:
            return None
    return _inside(Path(path), repo_id)


def file_beside(name: str | Path, filename: str, options: HubOptions) -> Path | None:
    """Return a file that lies beside the weights of a model; None if there is none.

    Args:
        name: The file of the weights, its folder, or a name on the hub or of the package.
        filename: Name of the file.
        options: How the hub is used.

    Raises:
        CheckpointError: If the repository cannot be reached.
    """
    place = Path(name)
    if not place.exists():
        return hub_file(str(name), filename, options) if is_hub_name(str(name)) else None
    path = (place / options.subfolder if place.is_dir() else place.parent) / filename
    return path if path.is_file() else None


def _inside(path: Path, repo_id: str) -> Path:
    """Return a file of the cache, which is a link to where its content lies in the cache.

    Raises:
        CheckpointError: If it leads elsewhere: whoever could write into the cache would have any file read.
    """
    place = next((folder for folder in path.parents if folder.name.startswith(_CACHED)), path.parent)
    real, kept = path.resolve(), [place.resolve(), (place / "blobs").resolve()]
    if not any(real.is_relative_to(folder) for folder in kept):
        raise CheckpointError(
            f"{path} of {repo_id} leads to {real}, out of the cache of the hub; remove it, and it is fetched again"
        )
    return path


def _cached_file(repo_id: str, filename: str, options: HubOptions, host: str) -> Path | None:
    """Return a file as `hub_file` does, from the cache alone because the host of the hub cannot be resolved."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if options.force_download:
        raise not_found(repo_id, host)
    try:
        return hub_file(repo_id, filename, replace(options, local_files_only=True))
    except CheckpointError as error:
        if isinstance(error.__cause__, LocalEntryNotFoundError):
            raise not_found(repo_id, host) from error.__cause__
        raise


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload model",
    create_pr: bool = False,
) -> str:
    """Upload a folder to the hub, creating the repository and branch if needed; return the address of the result.

    Args:
        folder: What to upload; hidden git folders are left out.
        repo_id: "owner/name", or "name" for a repository of the logged-in user.
        token: Access token with the right to write; the saved login if None.
        private: Visibility of a repository that is created; the default of its owner if None.
        revision: Branch to write to; the default branch if None.
        commit_message: First line of the commit.
        create_pr: Open a pull request (against the default branch) instead of writing to the branch.

    Raises:
        CheckpointError: If the folder does not exist or the hub refuses it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected the folder of a saved model, save the model first")
    if create_pr and revision is not None:
        raise CheckpointError(
            f"revision '{revision}' cannot be combined with create_pr=True, because a pull request goes to the default "
            "branch; drop one of the two"
        )
    with explained_errors(repo_id, revision):
        validate_repo_id(repo_id)
    need_hub(repo_id)
    with explained_errors(repo_id, revision):
        api = HfApi(token=token)
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None and not revision.startswith("refs/"):  # refs/pr/7 exists once its request was opened
            api.create_branch(repo.repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo.repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message,
            create_pr=create_pr,
        )
    return commit.pr_url or str(repo)


def push_saved(save: Callable[[Path], object], repo_id: str, **options: Any) -> str:
    """Upload what `save` writes into a folder; return the address of the result.

    Args:
        save: Writes the files.
        repo_id: "owner/name", or "name" for a repository of the logged-in user.
        **options: Those of `push_folder`.

    Raises:
        CheckpointError: If the hub cannot be reached or refuses.
    """
    with TemporaryDirectory() as folder:
        save(Path(folder))
        return push_folder(Path(folder), repo_id, **options)


def _known_absent(repo_id: str, filename: str, options: HubOptions) -> bool:
    """Return whether the cache alone shows that a revision has no such file."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    path = f"{options.subfolder}/{filename}" if options.subfolder else filename
    cached: Any = try_to_load_from_cache(
        repo_id, path, cache_dir=options.cache_dir, revision=options.revision or "main"
    )
    if cached is not None and not isinstance(cached, str):  # a mark that the hub once said "no such file"
        return True
    if not options.offline:
        return False  # the hub did not answer: it may well have the file
    try:
        snapshot = snapshot_download(
            repo_id,
            revision=options.revision,
            cache_dir=options.cache_dir,
            allow_patterns=[path],
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return False
    # A download that broke off leaves empty folders, which say nothing about the repository.
    return any(file.is_file() for file in Path(snapshot).rglob("*"))


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
