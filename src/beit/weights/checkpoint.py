"""A checkpoint of any layout, opened: canonical tensors that are still on disk, and the options of its model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from beit.config import CONFIG_NAME, ORIGINAL_SEGMENTERS, BeitConfig
from beit.errors import CheckpointError, ConfigError
from beit.geometry import num_relative_positions, patch_grid
from beit.hub import HubOptions
from beit.weights.adapt import with_root
from beit.weights.entry import Entry, entry_of
from beit.weights.flax import FLAX
from beit.weights.huggingface import HUGGING_FACE, HUGGING_FACE_NATIVE
from beit.weights.infer import inferred_options
from beit.weights.layouts import layout_of
from beit.weights.locate import WEIGHT_FILES, Located, locate
from beit.weights.msgpack_file import open_msgpack
from beit.weights.original import ORIGINAL_CLASSIFICATION, TIMM
from beit.weights.pickled import open_pickled
from beit.weights.rules import Layout
from beit.weights.safetensors_file import open_safetensors
from beit.weights.stored import StoredTensor
from beit.weights.timm_config import timm_hints

_LAYER = r"beit\.encoder\.layer\.(\d+)\."
_WITH_CONFIG = (HUGGING_FACE, HUGGING_FACE_NATIVE, FLAX)  # nothing but a config.json tells their options
_STATE_KEYS = ("model", "module", "state_dict", "params")  # where training scripts keep the weights
CONFIG_KEY = "beit_config"  # where our own `.pth` files say what they hold
_HEADS = {
    "lm_head.weight": "BeitForMaskedImageModeling",
    "decode_head.classifier.weight": "BeitForSemanticSegmentation",
    "classifier.weight": "BeitForImageClassification",
}
_INDEX_LIMIT = 16 * 2**20  # bytes of a shard index or a config


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint.

    Attributes:
        source: For messages.
        layout: The layout that it has on disk.
        tensors: Canonical names; the encoder is under "beit." whatever model was saved.
        options: The options of the saved model, as `config.json` or the tensors tell.
    """

    source: str
    layout: Layout
    tensors: dict[str, Entry]
    options: dict[str, Any]

    def check_sizes(self, before: BeitConfig, config: BeitConfig) -> None:
        """Refuse configs that do not belong to these tensors, before a model is built of them.

        Args:
            before: The config of the checkpoint.
            config: The config of the model that it is loaded into.

        Raises:
            CheckpointError: Naming the size on both sides.
        """
        layers = {match[1] for name in self.tensors if (match := re.match(_LAYER, name))}
        widths = [entry.shape[-1] for name, entry in self.tensors.items() if name == "beit.embeddings.cls_token"]
        rows = {
            entry.shape[0] for name, entry in self.tensors.items() if name.endswith(".relative_position_bias_table")
        }
        grid = patch_grid(before.image_size, before.patch_size)
        for what, held, said in (
            ("layers", {len(layers)}, config.num_hidden_layers),
            ("hidden channels", set(widths), config.hidden_size),
            ("rows in a relative position bias table", rows, num_relative_positions(grid)),
        ):
            if held and held != {said}:
                raise CheckpointError(
                    f"{self.source} does not fit the model: it holds {sorted(held)} {what}, its config means {said}. "
                    "Check that the checkpoint belongs to this config"
                )

    @property
    def architecture(self) -> str:
        """The class of the model that it holds, as its config says, else as its heads tell."""
        named = self.options.get("architectures")
        if isinstance(named, list) and named:
            return str(named[0]).removeprefix("Flax")
        return next((name for head, name in _HEADS.items() if head in self.tensors), "BeitModel")

    @property
    def dtype(self) -> str:
        """The floating-point type of most of its values."""
        weights: dict[str, int] = {}
        for entry in self.tensors.values():
            if "float" in entry.dtype:
                weights[entry.dtype] = weights.get(entry.dtype, 0) + prod(entry.shape)
        return max(weights, key=lambda name: weights[name], default="float32")


def open_checkpoint(
    name: str | Path,
    options: HubOptions | None = None,
    config: BeitConfig | None = None,
    overrides: Mapping[str, Any] | None = None,
    files: Sequence[str] = WEIGHT_FILES,
) -> Checkpoint:
    """Open a checkpoint in any layout; nothing but headers is read, nothing in it is executed.

    Args:
        name: A folder, a file, a hub repository, or a published checkpoint.
        options: How the hub is used.
        config: The config of the model it will be loaded into, if the caller has one.
        overrides: Options that the caller changes; they help where a checkpoint without a config leaves one open.
        files: Names of files that may hold weights, in order of preference.

    Raises:
        CheckpointError: If it cannot be found or read, or is no BEiT.
        ConfigError: If its config is missing or invalid.
    """
    hub = options or HubOptions()
    if (beside := Path(name) / hub.subfolder / CONFIG_NAME).is_file():
        _json_object(beside)  # a damaged config is the clearer message where weights are missing too
    located = locate(name, hub, files)
    stored, notes = _stored_tensors(located)
    layout = layout_of(located.source, list(stored))
    tensors = with_root(layout.to_canonical(stored, entry_of), wanted=True)
    check_total(located.source, tensors)
    found = _config_of(located)
    known = dict(overrides or {}) | ({} if config is None else _told_by(config))
    if found is not None and "architecture" not in found:
        BeitConfig.check_kind(found, located.source)
    if layout is ORIGINAL_CLASSIFICATION and found is not None and "architecture" in found:
        layout = TIMM  # the same names, in timm's kind of folder
    if CONFIG_KEY in notes:
        read: dict[str, Any] = notes[CONFIG_KEY]
    elif layout in _WITH_CONFIG and found is not None:
        read = found
    elif layout in _WITH_CONFIG and config is None:
        raise ConfigError(f"{located.source} has no config.json beside it; pass config=BeitConfig(...)")
    else:
        read = _inferred(located, tensors, {**timm_hints(found), **notes}, known)
    if located.repository in ORIGINAL_SEGMENTERS:
        read = {"out_indices_meaning": "original", **read}
    return Checkpoint(located.source, layout, tensors, read)


def check_total(source: str, tensors: Mapping[str, Entry]) -> None:
    """Refuse a file whose tensors together are larger than it: they lie on top of one another to fill the memory."""
    wanted: dict[Path, int] = {}
    for entry in tensors.values():
        stored = entry.stored
        wanted[stored.path] = wanted.get(stored.path, 0) + stored.nbytes
    for path, size in wanted.items():
        if size > path.stat().st_size:
            raise CheckpointError(
                f"{source} promises {size} bytes of tensors in a file of {path.stat().st_size}; "
                "expected every tensor to have bytes of its own, save the model again"
            )


def _stored_tensors(located: Located) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """Return the tensors of all shards, and what the file says about its model besides."""
    if located.weights.name.endswith(".index.json"):
        return _sharded(located), {}
    return open_file(located.weights)


def open_file(path: Path) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """Return the tensors of one file, and what it says about its model besides; nothing in it is executed.

    Raises:
        CheckpointError: If it is damaged, unsafe, or holds no tensors.
    """
    if path.suffix == ".safetensors":
        return open_safetensors(path), {}
    if path.suffix == ".msgpack":
        return _flat(path, open_msgpack(path)), {}
    content = open_pickled(path)
    notes = _notes(content) if isinstance(content, Mapping) else {}
    return _flat(path, _state(path, content)), notes


def _state(path: Path, content: Any) -> Mapping[str, Any]:
    """Return the weights within what a training script saved."""
    if isinstance(content, Mapping):
        for key in _STATE_KEYS:
            if isinstance(content.get(key), Mapping):
                return content[key]
        return content
    raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a mapping of names to tensors")


def _flat(path: Path, nested: Mapping[str, Any], prefix: str = "") -> dict[str, StoredTensor]:
    """Join the names of nested mappings by dots, and drop what wrappers put before every name."""
    flat: dict[str, StoredTensor] = {}
    for name, value in nested.items():
        if isinstance(value, StoredTensor):
            flat[f"{prefix}{name}"] = value
        elif isinstance(value, Mapping):
            flat |= _flat(path, value, f"{prefix}{name}.")
        else:
            raise CheckpointError(f"{path} holds a {type(value).__name__} at {prefix}{name}; expected a tensor")
    for wrapper in ("module.", "params."):  # distributed training, Flax's variables
        if not prefix and flat and all(name.startswith(wrapper) for name in flat):
            flat = {name.removeprefix(wrapper): tensor for name, tensor in flat.items()}
    return flat


def _sharded(located: Located) -> dict[str, StoredTensor]:
    """Read the tensors that an index names from the shards that it names."""
    index = _json_object(located.weights)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{located.weights} has no weight_map; expected the index of a checkpoint in shards")
    shards: dict[str, dict[str, StoredTensor]] = {}
    tensors: dict[str, StoredTensor] = {}
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", "..") or "\\" in file:
            raise CheckpointError(f"{located.weights} names the shard {file!r}; expected the name of a file beside it")
        if file not in shards:
            shards[file], _ = open_file(located.sibling(file))
        if name not in shards[file]:
            raise CheckpointError(f"{located.weights} promises {name!r} in {file}, which does not hold it")
        tensors[name] = shards[file][name]
    return tensors


def _config_of(located: Located) -> dict[str, Any] | None:
    return None if located.config is None else _json_object(located.config)


def _json_object(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _INDEX_LIMIT:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes; expected a JSON file of a few kilobytes")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not readable JSON ({error}); fetch or save it again") from None
    return _parsed(text, str(path))


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not readable JSON ({error}); fetch or save it again") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{source} holds a {type(content).__name__}; expected a JSON object")
    return content


def _notes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the file says about its model: our config, or the class names that mmsegmentation keeps."""
    config = content.get(CONFIG_KEY)
    if isinstance(config, str):  # one string, because a pickle of many names is slow to read safely
        return {CONFIG_KEY: _parsed(config, CONFIG_KEY)}
    meta = content.get("meta")
    names = meta.get("CLASSES") if isinstance(meta, Mapping) else None
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return {"id2label": dict(enumerate(names))}
    return {}


def _told_by(config: BeitConfig) -> dict[str, Any]:
    return {"num_attention_heads": config.num_attention_heads, "image_size": config.image_size}


def _inferred(
    located: Located, tensors: Mapping[str, Entry], hints: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Tell the options from the tensors, with the caller's help where they leave one open."""
    shapes = {name: entry.shape for name, entry in tensors.items()}
    if "num_attention_heads" in known:
        hints = {"num_attention_heads": known["num_attention_heads"], **hints}
    if hints.get("id2label") and len(hints["id2label"]) != _classes(shapes):
        hints = {name: value for name, value in hints.items() if name != "id2label"}
    try:
        options = inferred_options(located.source, shapes, hints)
    except CheckpointError:
        if "image_size" not in known:
            raise
        # a grid that is not square: it has the size that was asked for
        options = inferred_options(located.source, shapes, {**hints, "image_size": known["image_size"]})
    if "id2label" in options:
        options.pop("num_labels", None)
    return options


def _classes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return shapes.get("decode_head.classifier.weight", (0,))[0]
