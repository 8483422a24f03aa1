"""Opened checkpoint of any layout: lazy tensors under canonical names, and the options of its model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, TypeVar

from beit.config import ORIGINAL_SEGMENTERS, BeitConfig
from beit.errors import CheckpointError, MismatchError, UnavailableError, shortened
from beit.files import read_json
from beit.geometry import num_relative_positions, patch_grid
from beit.hub import HubOptions
from beit.weights.adaptation import with_root
from beit.weights.adapter import ADAPTER_CONFIG, ADAPTER_FILES, adapted_options, add_adapter
from beit.weights.arguments import WEIGHT_FILES, Located, locate
from beit.weights.flax import FLAX
from beit.weights.huggingface import HUGGING_FACE, HUGGING_FACE_DATA2VEC, HUGGING_FACE_NATIVE
from beit.weights.infer_config import inferred_options
from beit.weights.layouts import LAYOUTS
from beit.weights.msgpack_file import open_msgpack
from beit.weights.original import ORIGINAL_CLASSIFICATION, TIMM
from beit.weights.pickles import open_pickled
from beit.weights.rules import Entry, Layout, entry_of
from beit.weights.state_dict import CONFIG_KEY, unwrapped, with_shorter_names
from beit.weights.storage.held_tensor import HeldTensor
from beit.weights.storage.lazy_tensor import LazyTensor, WeightFile, open_safetensors
from beit.weights.timm_config import timm_hints

_MOST_NAME = 200  # characters of the name of a shard
_LAYER = r"beit\.encoder\.layer\.(\d+)\."
_WITH_CONFIG = (
    HUGGING_FACE,
    HUGGING_FACE_NATIVE,
    HUGGING_FACE_DATA2VEC,
    FLAX,
)  # their options stand in a config.json alone
Held = TypeVar("Held", bound=LazyTensor | HeldTensor)
_DATA2VEC_ROOT = ("data2vec_vision.", "beit.")
_DATA2VEC_CLASSES = ("Data2VecVision", "Beit")
_HEADS = {
    "lm_head.weight": "BeitForMaskedImageModeling",
    "decode_head.classifier.weight": "BeitForSemanticSegmentation",
    "classifier.weight": "BeitForImageClassification",
}


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint.

    Attributes:
        source: The name to use in messages.
        layout: The layout that it has on disk.
        tensors: Canonical names; the encoder is under "beit." whatever model was saved.
        options: The options of the saved model, from `config.json` or inferred from the tensors.
        changes: What was done to the names and values that are stored, for the report of a loading.
    """

    source: str
    layout: Layout
    tensors: dict[str, Entry]
    options: dict[str, Any]
    changes: list[str] = field(default_factory=list[str])

    def check_sizes(self, before: BeitConfig, config: BeitConfig) -> None:
        """Refuse configs that do not match these tensors, before a model is built from them.

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
                raise MismatchError(
                    f"{self.source} does not fit the model: it holds {sorted(held)} {what}, its config has {said}. "
                    "Check that the checkpoint belongs to this config"
                )

    @property
    def architecture(self) -> str:
        """Class of the saved model, from its config or else from its heads; of data2vec models, that of BEiT."""
        named = self.options.get("architectures")
        if isinstance(named, list) and named:
            return str(named[0]).removeprefix("Flax").replace(*_DATA2VEC_CLASSES)
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
    """Open a checkpoint in any layout; only headers are read, and no code in it is executed.

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
    located = locate(name, hub, files)
    if located.weights.name in ADAPTER_FILES:
        return _adapted(located, hub, config, overrides, files)
    checkpoint = _opened(located, config, overrides)
    if Path(name).is_dir() and any((located.weights.parent / file).is_file() for file in ADAPTER_FILES):
        left = f"{name} holds an adapter too, which is not loaded: add it by model.load_adapter({str(name)!r})"
        return replace(checkpoint, changes=[*checkpoint.changes, left])
    return checkpoint


def _adapted(
    located: Located,
    hub: HubOptions,
    config: BeitConfig | None,
    overrides: Mapping[str, Any] | None,
    files: Sequence[str],
) -> Checkpoint:
    """Open the model that an adapter of peft was trained on, and add the adapter to its weights."""
    settings = read_json(located.sibling(ADAPTER_CONFIG), "the adapter_config.json of peft")
    name = settings.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise CheckpointError(
            f"{located.source} holds an adapter and does not name its model; write base_model_name_or_path into its "
            f"{ADAPTER_CONFIG}, a folder or a name on the hub"
        )
    below = locate(name, replace(hub, revision=settings.get("revision"), subfolder=""), files)
    if below.weights.name in ADAPTER_FILES:
        raise CheckpointError(f"{located.source} adapts {name}, an adapter itself; expected a model: merge that first")
    base = _opened(below, config, overrides)
    stored = _adapter_tensors(located)
    tensors = add_adapter(base.tensors, stored, settings, located.source)
    changes = [*base.changes, f"the adapter was added to the weights of {name}"]
    trained = next((kind for head, kind in _HEADS.items() if head in tensors and head not in base.tensors), None)
    options = adapted_options(base.options, tensors, settings, trained)
    return Checkpoint(located.source, base.layout, tensors, options, changes)


def open_adapter(name: str | Path, hub: HubOptions) -> tuple[dict[str, LazyTensor], Path]:
    """Open an adapter of peft: its tensors, and the file of its config.

    Raises:
        CheckpointError: If it cannot be found or read, or is a whole model.
    """
    located = locate(name, hub, ADAPTER_FILES)
    if located.weights.name not in ADAPTER_FILES:
        raise CheckpointError(f"{name} is a file of weights; expected the folder of an adapter, with {ADAPTER_CONFIG}")
    return _adapter_tensors(located), located.sibling(ADAPTER_CONFIG)


def _adapter_tensors(located: Located) -> dict[str, LazyTensor]:
    stored, _ = open_file(located.weights)
    check_total(located.source, {name: entry_of(tensor) for name, tensor in stored.items()})
    return stored


def _opened(located: Located, config: BeitConfig | None, overrides: Mapping[str, Any] | None) -> Checkpoint:
    """Open the files of a model."""
    # read first: a damaged config is the clearer message where weights are damaged too
    found = None if located.config is None else read_json(located.config, BeitConfig.EXPECTED, error=UnavailableError)
    stored, notes = _stored_tensors(located)
    layout, tensors, changes = _canonical(located.source, stored)
    check_total(located.source, tensors)
    if found is not None and "architecture" not in found:
        BeitConfig.check_kind(found, located.source)
    if layout is ORIGINAL_CLASSIFICATION and found is not None and "architecture" in found:
        layout = TIMM  # the same names, in timm's kind of folder
    if CONFIG_KEY in notes:
        read: dict[str, Any] = notes[CONFIG_KEY]
    elif layout in _WITH_CONFIG and found is not None:
        read = found
    elif layout in _WITH_CONFIG and config is None:
        raise UnavailableError(f"{located.source} has no config.json beside it; pass config=BeitConfig(...)")
    else:
        known = dict(overrides or {})
        if config is not None:
            known |= {"num_attention_heads": config.num_attention_heads, "image_size": config.image_size}
        shapes = {name: entry.shape for name, entry in tensors.items()}
        read = inferred_options(located.source, shapes, {**timm_hints(found), **notes}, known)
    if located.repository in ORIGINAL_SEGMENTERS:
        read = {"out_indices_meaning": "original", **read}
    return Checkpoint(located.source, layout, tensors, read, changes)


def held_checkpoint(stored: Mapping[str, HeldTensor], options: Mapping[str, Any]) -> Checkpoint:
    """Return a checkpoint of tensors in memory, under the names of any layout, and of the options of their model.

    Raises:
        CheckpointError: If no layout has these names.
    """
    layout, tensors, changes = _canonical("state_dict", stored)
    return Checkpoint("state_dict", layout, tensors, dict(options), changes)


def _canonical(
    source: str, stored: Mapping[str, LazyTensor] | Mapping[str, HeldTensor]
) -> tuple[Layout, dict[str, Entry], list[str]]:
    """Return the layout of stored tensors, the tensors under canonical names, and what was done to their names."""
    plain, changes = _with_beit_root(stored), list[str]()
    layout = _layout_of(plain)
    if layout is None:
        for unwrapped, prefix in with_shorter_names(stored):
            plain = _with_beit_root(unwrapped)
            if (layout := _layout_of(plain)) is not None:
                changes = [f"the prefix {prefix!r} of all names was taken off"]
                break
    if layout is None:
        raise CheckpointError(
            f"{source} holds {len(stored)} tensors such as {sorted(stored)[:3]}; expected a BEiT in one of the layouts "
            f"{[layout.name for layout in LAYOUTS]}: if the model is a part of what was saved, pass its tensors, as "
            "from_pretrained(None, config=..., state_dict=...)"
        )
    return layout, with_root(layout.to_canonical(plain, entry_of), wanted=True), changes


def _with_beit_root(stored: Mapping[str, Held]) -> dict[str, Held]:
    """Return tensors with the encoder of a data2vec model under the name that BEiT gives it."""
    return {name.replace(*_DATA2VEC_ROOT, 1) if name.startswith(_DATA2VEC_ROOT[0]) else name: tensor
            for name, tensor in stored.items()}  # fmt: skip


def check_total(source: str, tensors: Mapping[str, Entry]) -> None:
    """Refuse a file whose tensors together are larger than it: overlapping tensors could fill the memory."""
    wanted: dict[WeightFile, int] = {}
    for entry in tensors.values():
        if isinstance(stored := entry.stored, LazyTensor):
            wanted[stored.file] = wanted.get(stored.file, 0) + stored.nbytes
    for file, size in wanted.items():
        if size > file.size:
            raise CheckpointError(
                f"{source} lists {size} bytes of tensors in a file of {file.size}; "
                "expected every tensor to have bytes of its own, save the model again"
            )


def _stored_tensors(located: Located) -> tuple[dict[str, LazyTensor], dict[str, Any]]:
    """Return the tensors of all shards, and what else the file says about its model."""
    if located.weights.suffix == ".json":
        return _sharded(located), {}
    return open_file(located.weights)


def open_file(path: Path) -> tuple[dict[str, LazyTensor], dict[str, Any]]:
    """Return the tensors of one file, and what else it says about its model; no code in it is executed.

    Raises:
        CheckpointError: If it is damaged, unsafe, or holds no tensors.
    """
    if path.suffix == ".safetensors":
        return open_safetensors(path), {}
    return unwrapped(path, open_msgpack(path) if path.suffix == ".msgpack" else open_pickled(path))


def _sharded(located: Located) -> dict[str, LazyTensor]:
    """Read the tensors that an index names from the shards that it names."""
    index = read_json(located.weights, "the index of a checkpoint in shards")
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{located.weights} has no weight_map; expected the index of a checkpoint in shards")
    shards: dict[str, dict[str, LazyTensor]] = {}
    tensors: dict[str, LazyTensor] = {}
    for name, file in weight_map.items():
        if not isinstance(file, str) or not _is_plain_name(file):
            raise CheckpointError(
                f"{located.weights} names the shard {shortened(file)}; expected the name of a file beside it"
            )
        if file not in shards:
            shards[file], _ = open_file(located.sibling(file))
        if name not in shards[file]:
            raise CheckpointError(f"{located.weights} lists {shortened(name)} in {file}, which does not hold it")
        tensors[name] = shards[file][name]
    return tensors


def _is_plain_name(file: str) -> bool:
    """Return whether a text can name a file beside another one, and nothing else."""
    plain = file != ".." and Path(file).name == file and "\\" not in file
    return plain and 0 < len(file) <= _MOST_NAME and file.isprintable()


def _layout_of(names: Iterable[str]) -> Layout | None:
    """Return the layout of a checkpoint with these names; None if no layout has them."""
    return next((layout for layout in LAYOUTS if layout.recognises(list(names))), None)
