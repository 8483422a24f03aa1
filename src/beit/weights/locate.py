"""From a name to files: a folder, a file, a hub repository, or a published checkpoint in any of its spellings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beit.catalog import PublicCheckpoint, public_checkpoint
from beit.config import CONFIG_NAME
from beit.errors import CheckpointError
from beit.hub import HubOptions, fetch_url, hub_file, is_hub_name
from beit.weights.storage import WEIGHTS_NAME

FLAX_FILE = "flax_model.msgpack"
# In order of preference: what is safest and fastest to read first.
WEIGHT_FILES = (
    WEIGHTS_NAME,
    f"{WEIGHTS_NAME}.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    FLAX_FILE,
)
_FILE_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".pkl", ".ckpt", ".msgpack", ".json")


@dataclass(frozen=True)
class Located:
    """The files of a checkpoint.

    Attributes:
        source: What the user asked for, for messages.
        weights: The file of weights, or the index of its shards.
        config: Its `config.json`, None if it has none.
        public: The published checkpoint that was asked for, None for a private one.
        options: How shards are fetched from the hub; None for local files.
        repository: The hub repository, "" for local files.
    """

    source: str
    weights: Path
    config: Path | None
    public: PublicCheckpoint | None = None
    options: HubOptions | None = None
    repository: str = ""

    def sibling(self, name: str) -> Path:
        """Return another file of the same folder or repository.

        Raises:
            CheckpointError: If it does not exist.
        """
        if self.options is None:
            path = self.weights.parent / name
            if path.is_file():
                return path
        elif (path := hub_file(self.repository, name, self.options)) is not None:
            return path
        raise CheckpointError(f"{self.source} has no file {name!r}, which its index names; it is incomplete")


def locate(name: str | Path, options: HubOptions, files: Sequence[str] = WEIGHT_FILES) -> Located:
    """Find the files of a checkpoint.

    Args:
        name: A folder, a file, "owner/repository" on the hub, or the name of a published checkpoint.
        options: How the hub is used.
        files: Names of files that may hold weights, in order of preference.

    Raises:
        CheckpointError: If nothing of that name exists or can be reached.
    """
    path = Path(name)
    if path.is_dir():
        return _in_folder(path / options.subfolder, files)
    if path.name == CONFIG_NAME and path.is_file():
        return _in_folder(path.parent, files)
    if path.is_file():
        beside = path.parent / CONFIG_NAME
        return Located(str(path), path, beside if beside.is_file() else None)
    public = public_checkpoint(str(name))
    if public is not None and public.hub is None:
        return Located(str(name), fetch_url(public.url, options), None, public)
    repository = public.hub if public is not None and public.hub is not None else str(name)
    if not is_hub_name(repository) or Path(repository).suffix in _FILE_SUFFIXES:
        raise CheckpointError(
            f"{name} does not exist; expected a model folder, a file of weights, a hub repository (owner/name) "
            "or a published checkpoint (beit models lists them)"
        )
    return _on_hub(repository, public, options, files)


def _in_folder(folder: Path, files: Sequence[str]) -> Located:
    config = folder / CONFIG_NAME
    for name in files:
        if (folder / name).is_file():
            return Located(str(folder), folder / name, config if config.is_file() else None)
    raise CheckpointError(f"{folder} does not hold weights; expected one of {list(files)}")


def _on_hub(repository: str, public: PublicCheckpoint | None, options: HubOptions, files: Sequence[str]) -> Located:
    config = hub_file(repository, CONFIG_NAME, options)
    for name in files:
        if (path := hub_file(repository, name, options)) is not None:
            return Located(repository, path, config, public, options, repository)
    raise CheckpointError(f"the hub repository {repository} holds no weights; expected one of {list(files)}")
