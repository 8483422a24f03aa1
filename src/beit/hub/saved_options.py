"""Options that are one JSON file of a model folder: read from a folder or the hub, and written there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, overload

from beit.errors import ConfigError, UnavailableError
from beit.files import check_path, read_json, write_text
from beit.hub.push import push_saved
from beit.hub.push_arguments import push_target
from beit.hub.repository import HubOptions, hub_file, is_hub_name

# Arguments of the published `from_pretrained` that say how a file is fetched or by which class it is read. They are no
# options: kept, they would be written into the file, an access token among them.
_OF_LOADING = (
    "_commit_hash", "_from_auto", "_from_pipeline", "code_revision", "mirror", "proxies", "resume_download",
    "trust_remote_code", "use_fast",
)  # fmt: skip


class SavedOptions:
    """Base of a model's config and of its image processor.

    Attributes:
        FILE_NAME: Name of the file in a model folder.
        EXPECTED: What the file holds, for messages.
        COMMIT_MESSAGE: Of an upload that is given none.
    """

    FILE_NAME: ClassVar[str]
    EXPECTED: ClassVar[str]
    COMMIT_MESSAGE: ClassVar[str]

    @classmethod
    def check_kind(cls, options: Mapping[str, Any], source: str) -> None:
        """Refuse the content of a file that is of another kind of model.

        Raises:
            ConfigError: Naming the kind, and where it was found.
        """

    @classmethod
    def overridden(cls, options: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the class for the content of a file and the overrides, which win."""
        raise NotImplementedError

    @classmethod
    def unused_names(cls, options: Mapping[str, Any], names: Iterable[str]) -> set[str]:
        """Return which names are no options, beside the content of a file."""
        raise NotImplementedError

    @classmethod
    def hub_name(cls, name: str) -> str | None:
        """Return the repository that a name stands for where there is no such path; None: for none."""
        return name if is_hub_name(name) else None

    @overload
    @classmethod
    def from_dict(
        cls, options: Mapping[str, Any], *, return_unused_kwargs: Literal[False] = False, **overrides: Any
    ) -> Self: ...
    @overload
    @classmethod
    def from_dict(
        cls, options: Mapping[str, Any], *, return_unused_kwargs: Literal[True], **overrides: Any
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_dict(
        cls, options: Mapping[str, Any], *, return_unused_kwargs: bool = False, **overrides: Any
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Build an object from the content of its file, as any published version wrote it; `overrides` win over it.

        With `return_unused_kwargs` overrides that are no options are not kept, but returned beside the object.

        Raises:
            ConfigError: If an option is invalid.
        """
        if not return_unused_kwargs:
            return cls(**cls.overridden(options, overrides))
        names = cls.unused_names(options, overrides)
        used = {name: value for name, value in overrides.items() if name not in names}
        return cls(**cls.overridden(options, used)), {name: overrides[name] for name in overrides if name in names}

    @classmethod
    def from_json_file(cls, path: str | Path, **overrides: Any) -> Self:
        """Build an object from its file; `overrides` win over it.

        Raises:
            ConfigError: If the file is missing, is not a JSON object, or describes another kind of model.
        """
        options = read_json(path, cls.EXPECTED, error=UnavailableError)
        cls.check_kind(options, str(path))
        return cls.from_dict(options, **overrides)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, return_unused_kwargs: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Build an object from the file of a model folder or hub repository.

        Args:
            pretrained_model_name_or_path: A folder, the file itself, or a hub repository.
            return_unused_kwargs: Return (object, unused): what is no option is then not kept but returned.
            **kwargs: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download` and `subfolder` say where
                the file is; all others are options, which win over the file's.

        Raises:
            ConfigError: If the file is not understood, or describes another kind of model.
            UnavailableError: If it is missing, or the hub cannot be reached.
        """
        options, overrides = cls.read_options(pretrained_model_name_or_path, **kwargs)
        if return_unused_kwargs:
            return cls.from_dict(options, return_unused_kwargs=True, **overrides)
        return cls.from_dict(options, **overrides)

    @classmethod
    def read_options(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        use_auth_token: str | bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the content of the file, and the arguments that neither say where it is nor how it is fetched.

        Raises:
            ConfigError: If the file is no JSON object, or describes another kind of model.
            UnavailableError: If it is missing, or the hub cannot be reached.
        """
        check_path(name_or_path, "a model folder or a hub repository", ConfigError)
        path = Path(name_or_path)
        repository = None if path.exists() else cls.hub_name(str(name_or_path))
        if repository is not None:
            token = use_auth_token if token is None else token
            hub = HubOptions(revision, token, cache_dir, local_files_only, force_download, subfolder)
            found = hub_file(repository, cls.FILE_NAME, hub)
            if found is None:
                raise UnavailableError(
                    f"the hub repository {repository} has no {cls.FILE_NAME}; name another repository or a folder, or "
                    f"build a {cls.__name__} by its options"
                )
            path = found
        elif not path.is_file():
            path = path / subfolder / cls.FILE_NAME
        options = read_json(path, cls.EXPECTED, error=UnavailableError)
        cls.check_kind(options, str(path))
        return options, {key: value for key, value in kwargs.items() if key not in _OF_LOADING}

    def to_json_string(self) -> str:
        """Return the text of the file."""
        raise NotImplementedError

    def to_json_file(self, json_file_path: str | Path) -> None:
        """Write `to_json_string` to a file.

        Raises:
            StorageError: If it cannot be written.
        """
        write_text(json_file_path, self.to_json_string())

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **options: Any) -> list[str]:
        """Write the file, as transformers reads it, into a folder, which is created if needed.

        Args:
            save_directory: The folder.
            push_to_hub: Upload it as well.
            **options: With `push_to_hub`: `repo_id`, by default the name of the folder, and arguments of `push_to_hub`.

        Returns:
            The path of the file, in a list.

        Raises:
            StorageError: If it cannot be written; an earlier file is untouched.
            CheckpointError: If the hub cannot be reached or refuses.
        """
        if options and not push_to_hub:
            raise ConfigError(f"save_pretrained does not know {sorted(options)}; push_to_hub=True takes more")
        path = Path(save_directory) / self.FILE_NAME
        write_text(path, self.to_json_string())
        if push_to_hub:
            self.push_to_hub(options.pop("repo_id", Path(save_directory).name), **options)
        return [str(path)]

    def push_to_hub(
        self,
        repo_id: str | None = None,
        use_temp_dir: bool | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        max_shard_size: int | str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        revision: str | None = None,
        commit_description: str | None = None,
        tags: str | Sequence[str] | None = None,
        **how: Any,
    ) -> str:
        """Upload the file to the hub; the repository is created if needed, and other files of it stay.

        Args:
            repo_id: "owner/name", or "name" for a repository of the logged-in user.
            use_temp_dir: Accepted for the published API, as `max_shard_size` and `safe_serialization` are: there is
                always such a folder, which a warning says, and one small file.
            commit_message: First line of the commit.
            private: Visibility of a repository that is created; the default of its owner if None.
            token: Access token with the right to write; the saved login if None.
            max_shard_size: Accepted.
            create_pr: Open a pull request instead of writing to the branch.
            safe_serialization: Accepted.
            revision: Branch to write to; the default branch if None.
            commit_description: What follows the first line of the commit.
            tags: What the repository is found by, beside the tags that its card has.
            **how: `language` and `ignore_metadata_errors` of the card, and earlier names: `use_auth_token` for `token`,
                `organization`, `repo_path_or_name` and `repo_url` for `repo_id`.

        Returns:
            The address of the repository or pull request.

        Raises:
            CheckpointError: If the hub cannot be reached or refuses.
            ConfigError: If an argument is unknown.
        """
        repository, token = push_target(repo_id, token, use_temp_dir, how)
        return push_saved(
            self.save_pretrained,
            repository,
            commit_message=commit_message or self.COMMIT_MESSAGE,
            private=private,
            token=token,
            create_pr=create_pr,
            revision=revision,
            commit_description=commit_description,
            tags=tags,
            **how,
        )
