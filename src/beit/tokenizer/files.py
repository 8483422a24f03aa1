"""What every tokenizer folder holds: `config.json`, which says of what kind it is, and `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from beit.config import CONFIG_NAME
from beit.errors import ConfigError
from beit.weights import WEIGHTS_NAME, Layout, atomic_file, check_fit, read_safetensors


def save_config(folder: str | Path, model_type: str, options: Mapping[str, Any]) -> None:
    """Write the options of a tokenizer into a folder, which is created if needed."""
    text = json.dumps({"model_type": model_type, **options}, indent=2)
    with atomic_file(Path(folder) / CONFIG_NAME) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_model_type(folder: str | Path) -> Any:
    """Return what `config.json` says the folder holds.

    Raises:
        ConfigError: If it is missing or no JSON object.
    """
    return _read(Path(folder) / CONFIG_NAME).get("model_type")


def read_config(folder: str | Path, model_type: str, known: Collection[str]) -> dict[str, Any]:
    """Return the options in `config.json` of a tokenizer folder.

    Raises:
        ConfigError: If it is missing, damaged, of another kind of model, or has unknown options.
    """
    path = Path(folder) / CONFIG_NAME
    options = _read(path)
    found = options.pop("model_type", None)
    if found != model_type:
        raise ConfigError(f"{path} describes a model of type {found!r}; expected a tokenizer ({model_type!r})")
    if unknown := options.keys() - set(known):
        raise ConfigError(f"{path} has unknown keys {sorted(unknown)}; expected {list(known)}")
    return options


def save_tensors(folder: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `model.safetensors`, whole or not at all.

    Raises:
        StorageError: If the disk is full.
    """
    with atomic_file(Path(folder) / WEIGHTS_NAME) as temporary:
        whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, metadata={"format": "pt"})


def load_tensors(folder: str | Path, model: nn.Module, layout: Layout | None = None) -> None:
    """Give a model that was built without values those of `model.safetensors`, in the types of the model.

    With a layout the file has the names of that. Names and shapes are compared before any memory is taken for the
    model, which an absurd `config.json` would like.

    Raises:
        CheckpointError: If the file is missing or damaged, or names or shapes differ.
    """
    path = Path(folder) / WEIGHTS_NAME
    found, own = read_safetensors(path), model.state_dict()
    if layout is not None:
        found = layout.to_canonical(found)
    there, here = ({name: tuple(tensor.shape) for name, tensor in named.items()} for named in (found, own))
    check_fit(str(path), there, here)
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in found.items()}, assign=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        options: Any = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path} does not exist; a tokenizer folder holds a {CONFIG_NAME}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} is not readable JSON ({error}); expected the {CONFIG_NAME} of a tokenizer") from None
    if not isinstance(options, dict):
        raise ConfigError(f"{path} holds a {type(options).__name__}; expected a tokenizer and its options")
    return options
