"""Files of the Hugging Face hub, fetched into its ordinary cache, and files that lie beside a model anywhere.

Models and tokenizers that the package brings have names like those of the hub; no network is needed for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beit.errors import CheckpointError, UnavailableError
from beit.hub.hub_errors import explained_errors
from beit.hub.network import lost_hub, not_found

_OWNER = "beit"
INCLUDED = Path(__file__).parents[1] / "included"  # models and tokenizers of the package

# huggingface_hub is imported inside the functions: whoever only reads local folders should not pay for loading it.


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
    try:
        return _on_the_hub(repo_id, filename, options)
    except UnavailableError as error:
        if not repo_id.startswith(f"{_OWNER}/"):
            raise
        raise UnavailableError(f"{error}; the package itself brings {', '.join(included_names())}") from error.__cause__


def _on_the_hub(repo_id: str, filename: str, options: HubOptions) -> Path | None:
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


def is_local(name: str | Path) -> bool:
    """Return whether a model lies on this machine: at a path, or brought by the package."""
    return Path(name).exists() or included_folder(name) is not None


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


def included_names() -> list[str]:
    """Return the names of all of them, such as "beit/nano-cifar10"."""
    return [f"{_OWNER}/{folder.name}" for folder in sorted(INCLUDED.iterdir()) if folder.is_dir()]


def included_folder(name: str | Path) -> Path | None:
    """Return the folder of what the package brings under a name; None for any other, and where a path is called so."""
    owner, slash, rest = str(name).partition("/")
    if owner != _OWNER or not slash or not rest or "/" in rest or rest.startswith(".") or Path(name).exists():
        return None
    folder = INCLUDED / rest
    return folder if folder.is_dir() else None
