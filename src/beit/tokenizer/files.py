"""Files of tokenizers: config and tensors in a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from beit.config import CONFIG_NAME
from beit.errors import ConfigError
from beit.files import read_json, write_json
from beit.hub import included_folder
from beit.models_torch.loading import check_tensors, read_safetensors, write_safetensors
from beit.weights import WEIGHTS_NAME, Layout

_EXPECTED = f"the {CONFIG_NAME} of a tokenizer"


def save_config(folder: str | Path, model_type: str, options: Mapping[str, Any]) -> None:
    """Write the options of a tokenizer into a folder, which is created if needed."""
    write_json(Path(folder) / CONFIG_NAME, {"model_type": model_type, **options})


def read_model_type(folder: str | Path) -> Any:
    """Return the model type in the `config.json` of a folder.

    Raises:
        ConfigError: If it is missing or no JSON object.
    """
    return read_json(_place(folder) / CONFIG_NAME, _EXPECTED).get("model_type")


def read_config(folder: str | Path, model_type: str, known: Collection[str]) -> dict[str, Any]:
    """Return the options in `config.json` of a tokenizer folder.

    Raises:
        ConfigError: If it is missing, damaged, of another kind of model, or has unknown options.
    """
    path = _place(folder) / CONFIG_NAME
    options = read_json(path, _EXPECTED)
    found = options.pop("model_type", None)
    if found != model_type:
        raise ConfigError(f"{path} describes a model of type {found!r}; expected a tokenizer ({model_type!r})")
    if unknown := options.keys() - set(known):
        raise ConfigError(f"{path} has unknown keys {sorted(unknown)}; expected {list(known)}")
    return options


def _place(folder: str | Path) -> Path:
    """Return the folder of a tokenizer, which may be one that the package brings."""
    place = Path(folder)
    return place if place.exists() else included_folder(folder) or place


def save_tensors(folder: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `model.safetensors`, whole or not at all.

    Raises:
        StorageError: If the disk is full.
    """
    write_safetensors(Path(folder) / WEIGHTS_NAME, tensors)


def load_tensors(folder: str | Path, model: nn.Module, layout: Layout | None = None) -> None:
    """Load `model.safetensors` into a model that was built without values, in the types of the model.

    With a layout the file has the names of that. Names and shapes are compared before any memory is taken for the
    model, which an absurd `config.json` would like.

    Raises:
        CheckpointError: If the file is missing or damaged, or names or shapes differ.
    """
    path = _place(folder) / WEIGHTS_NAME
    found, own = read_safetensors(path), model.state_dict()
    if layout is not None:
        found = layout.to_canonical(found)
    check_tensors(str(path), found, own)
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in found.items()}, assign=True)
