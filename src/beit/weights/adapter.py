"""Low-rank adapters in the folders of peft, added to the weights of the model that they were trained on.

Legend: O outputs, R rank, I inputs (of a convolution: channels, height and width of its kernel).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import partial
from math import sqrt
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from beit.errors import CheckpointError, shortened
from beit.weights.adaptation import with_root
from beit.weights.huggingface import HUGGING_FACE_NATIVE
from beit.weights.match import check_type
from beit.weights.rules import Entry, entry_of, from_bfloat16
from beit.weights.state_dict import without_wrappers
from beit.weights.storage.lazy_tensor import LazyTensor

Tensor = TypeVar("Tensor")
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILES = (ADAPTER_WEIGHTS, "adapter_model.bin")
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_WRAPPED = ".base_layer."  # in the name of a bias that was trained beside an adapter of its layer
_PART = re.compile(r"(.+?)(\.lora_.+)")  # a layer, and what an adapter has put into it
_VARIANTS = ("use_dora", "alpha_pattern", "fan_in_fan_out", "layer_replication", "use_qalora", "lora_bias")
_BY_GRADIENTS = "lora_ga"
# init_lora_weights that take something off the model's own weights
_CHANGING = ("pissa", "olora", "corda", "loftq", _BY_GRADIENTS)
_MOST_ALPHA = 1e6  # no trained adapter is near; beyond float32 its products are infinite
_REMEDY = "load the model itself, and the adapter by model.load_adapter(folder)"


def add_adapter(
    tensors: Mapping[str, Entry], stored: Mapping[str, LazyTensor], settings: Mapping[str, Any], source: str
) -> dict[str, Entry]:
    """Return the tensors of a model with an adapter: products added when weights are read, trained modules replaced.

    Args:
        tensors: The model, under canonical names.
        stored: The file of the adapter, under the names of transformers 4.x or 5.x.
        settings: Its `adapter_config.json`.
        source: The adapter, for messages.

    Raises:
        CheckpointError: If it is another kind of adapter, or one of another model.
    """
    _check_kind(settings, source)
    plain = {name.replace(_WRAPPED, "."): tensor for name, tensor in without_wrappers(stored)[0].items()}
    adapted = {name.removesuffix(end) + ".weight" for name in plain for end in (_DOWN, _UP) if name.endswith(end)}
    whole = {name for name in plain if not name.endswith((_DOWN, _UP))}
    places = _canonical_names({*adapted, *whole})
    if unknown := [name for name in adapted if places[name] not in tensors]:
        raise CheckpointError(
            f"{source} adapts {sorted(unknown)[:3]}, which the model has not; check base_model_name_or_path in its "
            f"{ADAPTER_CONFIG}"
        )
    result = {**tensors, **{places[name]: entry_of(plain[name]) for name in whole}}
    for name in sorted(adapted):
        down, up = (plain.get(name.removesuffix(".weight") + end) for end in (_DOWN, _UP))
        weight = tensors[places[name]]
        if down is None or up is None or not _fits(weight.shape, down.shape, up.shape):
            raise CheckpointError(f"{source} does not fit {places[name]} of shape {weight.shape}; {_REMEDY}")
        for end, part in ((_DOWN, down), (_UP, up)):
            check_type(source, name.removesuffix(".weight") + end, part.dtype, True)
        rank = down.shape[0]
        if rank == 0:
            raise CheckpointError(f"{source} has rank 0 at {places[name]}; expected at least 1: {_REMEDY}")
        scale = settings["lora_alpha"] / (sqrt(rank) if settings.get("use_rslora") else rank)
        result[places[name]] = weight.changed(weight.shape, partial(_sum, down=down, up=up, scale=scale))
    return result


def adapted_options(
    options: Mapping[str, Any], tensors: Mapping[str, Entry], settings: Mapping[str, Any], trained: str | None
) -> Any:
    """Return the options of a model with an adapter: its class, and the classes of a head that was trained anew.

    Args:
        options: Those of the model without it.
        tensors: The model with it, under canonical names.
        settings: Its `adapter_config.json`, which names the class of the model unless a `task_type` was given.
        trained: Class of the head that it alone holds, None if it holds none.
    """
    options = dict(options)
    mapping: Any = settings.get("auto_mapping")
    kind = mapping.get("base_model_class", trained) if isinstance(mapping, Mapping) else trained
    if isinstance(kind, str):
        options["architectures"] = [kind]
    head = tensors.get("classifier.weight")
    if head is not None and head.shape[0] != len(options.get("id2label") or range(2)):
        options = {name: value for name, value in options.items() if name not in ("id2label", "label2id")}
        options["num_labels"] = head.shape[0]
    return options


def with_names_of(
    modules: Collection[str], root: str, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of an adapter under the names of a model, and its layers there if they had other names.

    Args:
        modules: Names of the modules of the model.
        root: What they have in the place of "beit.".
        tensors: The adapter, under the names of transformers 4.x or 5.x, with a head or without.
    """
    plain, _ = without_wrappers(tensors)
    parts = {name: match.groups() for name in plain if (match := _PART.fullmatch(name))}
    if all(layer in modules for layer, _ in parts.values()):
        return plain, []
    weights = {name: f"{parts[name][0]}.weight" if name in parts else name.replace(_WRAPPED, ".") for name in plain}
    places = _canonical_names(set(weights.values()))
    own = {name: root + place.removeprefix("beit.") if place.startswith("beit.") else place
           for name, place in places.items()}  # fmt: skip
    layers = {name: own[weights[name]].removesuffix(".weight") for name in parts}
    others = {name: own[weights[name]] for name in plain if name not in parts}
    wrapped = {name: _WRAPPED.join(place.rsplit(".", 1)) if _WRAPPED in name else place
               for name, place in others.items()}  # fmt: skip
    renamed = {layers[name] + parts[name][1] if name in parts else wrapped[name]: plain[name] for name in plain}
    return renamed, sorted(set(layers.values()))


def _check_kind(settings: Mapping[str, Any], source: str) -> None:
    kind, alpha = settings.get("peft_type"), settings.get("lora_alpha")
    if kind != "LORA":
        raise CheckpointError(f"{source} is an adapter of type {shortened(kind)}; expected 'LORA': {_REMEDY}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) <= _MOST_ALPHA:
        raise CheckpointError(
            f"{source} has lora_alpha {shortened(alpha)} in its {ADAPTER_CONFIG}; expected a number, such as "
            "16: correct it"
        )
    if used := [name for name in _VARIANTS if settings.get(name)]:
        raise CheckpointError(f"{source} is an adapter with {used}; expected plain LoRA: {_REMEDY}")
    if isinstance(first := settings.get("init_lora_weights"), str) and first.lower().startswith(_CHANGING):
        again = "" if first == _BY_GRADIENTS else f", or {_REMEDY}"  # peft changes the model in the same way then
        raise CheckpointError(
            f"{source} has init_lora_weights {shortened(first)}, for which weights of its model were changed too; "
            "expected an adapter to the model as it is: convert it with save_pretrained of peft "
            f"(path_initial_model_for_weight_conversion){again}"
        )


def _canonical_names(names: set[str]) -> dict[str, str]:
    """Return the canonical names of some names of transformers, of either generation."""
    # names of 4.x are canonical, and those of 5.x have no rule where they are the same
    renamed = with_root(HUGGING_FACE_NATIVE.to_canonical({name: name for name in names}, _itself), wanted=True)
    return {name: canonical for canonical, name in renamed.items()}


def _itself(name: str, *_: Any) -> str:
    return name


def _fits(weight: tuple[int, ...], down: tuple[int, ...], up: tuple[int, ...]) -> bool:
    return up[:2] == (weight[0], down[0]) and down[1:] == weight[1:]


def _sum(
    weight_OI: NDArray[np.floating[Any]], down: LazyTensor, up: LazyTensor, scale: float
) -> NDArray[np.floating[Any]]:
    """Return weight + scale * up @ down in float32."""
    down_RI, up_OR = _values(down), _values(up)
    rank = len(down_RI)
    product_OI = up_OR.reshape(-1, rank) @ down_RI.reshape(rank, -1)
    return weight_OI.astype(np.float32) + np.float32(scale) * product_OI.reshape(weight_OI.shape)


def _values(tensor: LazyTensor) -> NDArray[np.float32]:
    array = tensor.read()
    return from_bfloat16(array) if tensor.dtype == "bfloat16" else array.astype(np.float32)
