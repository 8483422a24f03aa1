"""State dict and notes on the model within the files of training scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from beit.errors import CheckpointError
from beit.files import parse_json
from beit.weights.storage.lazy_tensor import LazyTensor

Tensor = TypeVar("Tensor")
_STATE_KEYS = ("model", "module", "state_dict", "params")  # where training scripts keep the weights
# Distributed training, torch.compile, modules of Lightning and others, peft, Flax's variables.
_WRAPPERS = ("module.", "_orig_mod.", "base_model.model.", "model.", "net.", "params.")
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
    """Join the names of nested mappings by dots."""
    flat: dict[str, LazyTensor] = {}
    for name, value in nested.items():
        if isinstance(value, LazyTensor):
            flat[f"{prefix}{name}"] = value
        elif isinstance(value, Mapping):
            flat |= _flat(path, value, f"{prefix}{name}.")
        else:
            raise CheckpointError(f"{path} holds a {type(value).__name__} at {prefix}{name}; expected a tensor")
    return flat


def without_wrappers(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return tensors without the prefix that wrappers of a model gave to all names, in any order, and that prefix."""
    taken, plain = "", dict(tensors)
    while plain and (found := next((w for w in _WRAPPERS if all(name.startswith(w) for name in plain)), None)):
        taken += found
        plain = {name.removeprefix(found): tensor for name, tensor in plain.items()}
    return plain, taken


def with_shorter_names(tensors: Mapping[str, Tensor]) -> Iterator[tuple[dict[str, Tensor], str]]:
    """Yield tensors without what wrappers put before all names, and that prefix, the shortest one first.

    Wrappers that are known go at once; then, one by one, other words that all names begin with, such as `student.`.
    """
    plain, taken = without_wrappers(tensors)
    yield plain, taken
    while len({name.partition(".")[0] for name in plain}) == 1 and all("." in name for name in plain):
        word = f"{next(iter(plain)).partition('.')[0]}."
        plain, inner = without_wrappers({name.removeprefix(word): tensor for name, tensor in plain.items()})
        taken += word + inner
        yield plain, taken


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
