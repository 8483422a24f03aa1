"""State dict and notes on the model within the files of training scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beit.errors import CheckpointError
from beit.files import parse_json
from beit.weights.storage.lazy_tensor import LazyTensor

_STATE_KEYS = ("model", "module", "state_dict", "params")  # where training scripts keep the weights
CONFIG_KEY = "beit_config"  # where our own `.pth` files keep the config


def unwrapped(path: Path, content: Any) -> tuple[dict[str, LazyTensor], dict[str, Any]]:
    """Return the state dict in the content of a pickle or msgpack file, and its notes on the model.

    Raises:
        CheckpointError: If it is no mapping of names to tensors.
    """
    notes = _notes(content) if isinstance(content, Mapping) else {}
    return _flat(path, _state(path, content)), notes


def _state(path: Path, content: Any) -> Mapping[str, Any]:
    """Return the mapping of weights within the content of a training script's file."""
    if isinstance(content, Mapping):
        for key in _STATE_KEYS:
            if isinstance(content.get(key), Mapping):
                return content[key]
        return content
    raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a mapping of names to tensors")


def _flat(path: Path, nested: Mapping[str, Any], prefix: str = "") -> dict[str, LazyTensor]:
    """Join the names of nested mappings by dots, and drop the prefixes of wrappers."""
    flat: dict[str, LazyTensor] = {}
    for name, value in nested.items():
        if isinstance(value, LazyTensor):
            flat[f"{prefix}{name}"] = value
        elif isinstance(value, Mapping):
            flat |= _flat(path, value, f"{prefix}{name}.")
        else:
            raise CheckpointError(f"{path} holds a {type(value).__name__} at {prefix}{name}; expected a tensor")
    for wrapper in ("module.", "params."):  # distributed training, Flax's variables
        if not prefix and flat and all(name.startswith(wrapper) for name in flat):
            flat = {name.removeprefix(wrapper): tensor for name, tensor in flat.items()}
    return flat


def _notes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notes of a file on its model: our config, or the class names that mmsegmentation keeps."""
    config = content.get(CONFIG_KEY)
    if isinstance(config, str):  # one string, because a pickle of many names is slow to read safely
        return {CONFIG_KEY: parse_json(config, CONFIG_KEY, "the config that was saved beside the weights")}
    meta = content.get("meta")
    names = meta.get("CLASSES") if isinstance(meta, Mapping) else None
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return {"id2label": dict(enumerate(names))}
    return {}
