"""Options that are one JSON file of a model folder: written into a folder, or uploaded to the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from beit.errors import ConfigError
from beit.files import write_text
from beit.hub.repository import push_saved

# Arguments of the published `from_pretrained` that say how a file is fetched or by which class it is read. They are no
# options: kept, they would be written into the file, an access token among them.
_OF_LOADING = (
    "_commit_hash", "_from_auto", "_from_pipeline", "code_revision", "mirror", "proxies", "resume_download",
    "trust_remote_code", "use_fast",
)  # fmt: skip


def without_loading(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return given arguments without those of loading."""
    return {name: value for name, value in given.items() if name not in _OF_LOADING}


class SavedOptions:
    """Base of a model's config and of its image processor.

    Attributes:
        FILE_NAME: Name of the file in a model folder.
        COMMIT_MESSAGE: Of an upload that is given none.
    """

    FILE_NAME: ClassVar[str]
    COMMIT_MESSAGE: ClassVar[str]

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

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the file to the hub; the repository is created if needed, and other files of it stay.

        Args:
            repo_id: "owner/name", or "name" for a repository of the logged-in user.
            **options: `token`, `private`, `revision`, `commit_message` and `create_pr`, as for models.

        Returns:
            The address of the repository or pull request.

        Raises:
            CheckpointError: If the hub cannot be reached or refuses.
        """
        return push_saved(self.save_pretrained, repo_id, **{"commit_message": self.COMMIT_MESSAGE, **options})
