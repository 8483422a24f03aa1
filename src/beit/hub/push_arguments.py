"""Arguments of the published `push_to_hub`: its earlier names, and what has no effect here."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from beit.errors import CheckpointError, ConfigError, warn

_UPLOADING = ("ignore_metadata_errors", "language")  # arguments of `push_folder` that `push_to_hub` does not name


def push_target(
    repo_id: str | None,
    token: str | bool | None,
    use_temp_dir: bool | None,
    given: dict[str, Any],
    known: Collection[str] = (),
) -> tuple[str, str | bool | None]:
    """Return the repository and the token that the arguments of a push mean; take earlier names out of `given`.

    Args:
        repo_id: The name of the repository.
        token: The access token.
        use_temp_dir: Whether files are written into a temporary folder, which they always are.
        given: Other arguments: `repo_path_or_name` and `repo_url` name the repository, `organization` its owner, and
            `use_auth_token` is the token.
        known: What may be among them otherwise.

    Raises:
        ConfigError: If two arguments contradict one another, or nothing knows one.
        CheckpointError: If no repository is named.
    """
    if use_temp_dir is False:
        warn("use_temp_dir is False; files are written into a temporary folder all the same, and uploaded from there")
    name, organization = _name(repo_id, given), given.pop("organization", None)
    if organization is not None:
        name = f"{organization}/{name.rpartition('/')[2]}"
    old_token = given.pop("use_auth_token", None)
    if None not in (token, old_token) and token != old_token:
        raise ConfigError("token and use_auth_token are two different ones; expected one: pass token alone")
    unknown = sorted(given.keys() - {*_UPLOADING, *known})
    if unknown:
        more = ", ".join(sorted({*_UPLOADING, *known}))
        raise ConfigError(f"push_to_hub does not know {unknown}; beside those of its signature it takes {more}")
    return name, old_token if token is None else token


def _name(repo_id: str | None, given: dict[str, Any]) -> str:
    """Return the one repository that is named: by itself, by a folder, or by its address."""
    folder, address = given.pop("repo_path_or_name", None), given.pop("repo_url", None)
    named = [name for name in (repo_id, folder, address) if name is not None]
    if len(named) != 1:
        raise CheckpointError(
            f"repo_id is {repo_id!r}, repo_path_or_name {folder!r} and repo_url {address!r}; expected one of them: "
            "pass repo_id='owner/name', or 'name' for a repository of the logged-in user"
        )
    if address is not None:
        return urlsplit(address).path.strip("/")
    if folder is not None and Path(folder).is_dir():
        return Path(folder).resolve().name
    return str(named[0])
