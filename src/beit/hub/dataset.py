"""Data sets of the Hugging Face hub: their lists of files, and the files."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from beit.errors import CheckpointError, DataError
from beit.hub.hub_errors import explained_errors
from beit.hub.network import need_hub
from beit.hub.repository import HubOptions


@dataclass(frozen=True)
class HubDataset:
    """A data set at one commit, whose content never changes.

    Attributes:
        repo_id: "owner/name".
        commit: Hash of the commit.
    """

    repo_id: str
    commit: str

    def file(self, filename: str) -> Path:
        """Return the local path of a file, downloaded into the cache of huggingface_hub if it is not there yet.

        Raises:
            DataError: If it cannot be had.
            StorageError: If it cannot be written, for example on a full disk.
        """
        from huggingface_hub import hf_hub_download

        with _explained(self.repo_id, self.commit, network=self.cached(filename) is None):
            return Path(hf_hub_download(self.repo_id, filename, repo_type="dataset", revision=self.commit))

    def cached(self, filename: str) -> Path | None:
        """Return the local path of a file that has been downloaded, None if it has not."""
        from huggingface_hub import try_to_load_from_cache

        path: Any = try_to_load_from_cache(self.repo_id, filename, repo_type="dataset", revision=self.commit)
        return Path(path) if isinstance(path, str) else None

    @contextmanager
    def remote(self, filename: str, block: int) -> Generator[IO[bytes]]:
        """Yield a file of which only what is read is fetched, at least `block` bytes at a time.

        Raises:
            DataError: If it cannot be reached.
        """
        from huggingface_hub import HfFileSystem

        with _explained(self.repo_id, self.commit):
            system: Any = HfFileSystem()
            with system.open(f"datasets/{self.repo_id}@{self.commit}/{filename}", "rb", block_size=block) as file:
                yield file


def list_dataset(repo_id: str, revision: str | None) -> tuple[HubDataset, list[str]]:
    """Return a data set at the commit that a revision is now, and the names of its files.

    Raises:
        DataError: If there is no such data set or revision, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _explained(repo_id, revision):
        info: Any = HfApi().dataset_info(repo_id, revision=revision)
    return HubDataset(repo_id, info.sha), [file.rfilename for file in info.siblings or ()]


def network_is_off() -> bool:
    """Return whether HF_HUB_OFFLINE forbids to use the network."""
    return HubOptions().offline


def hub_address() -> str:
    """Return the address of the hub in use."""
    from huggingface_hub import constants

    return constants.ENDPOINT


@contextmanager
def _explained(repo_id: str, revision: str | None, network: bool = True) -> Generator[None]:
    """Turn errors about a data set into `DataError`, since pictures are missing rather than a checkpoint."""
    try:
        if network:
            need_hub(f"datasets/{repo_id}")
        with explained_errors(f"datasets/{repo_id}", revision):
            yield
    except CheckpointError as error:
        raise DataError(str(error)) from error
