"""Changes that a checkpoint needs before it fits the model it is loaded into, on canonical names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from beit.weights.rules import Array


def with_root(tensors: Mapping[str, Array], wanted: bool) -> dict[str, Array]:
    """Put the encoder under "beit." (a model with a head) or take it out (the bare `BeitModel`).

    A bare model has no use for heads; their tensors keep their names and are reported as left out.
    """
    has_root = any(name.startswith("beit.") for name in tensors)
    if wanted and not has_root:
        return {f"beit.{name}": tensor for name, tensor in tensors.items()}
    if has_root and not wanted:
        heads = {f"head:{name}": tensor for name, tensor in tensors.items() if not name.startswith("beit.")}
        return heads | {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("beit.")}
    return dict(tensors)


def shared_bias_to_layers(tensors: Mapping[str, Array], layers: int) -> dict[str, Array]:
    """Give every layer its own copy of the relative position bias that pre-training shares.

    Source: the fine-tuning scripts of the original implementation.
    """
    adapted: dict[str, Array] = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(beit\.|)encoder\.bias\.table", name)
        if match is None:
            adapted[name] = tensor
            continue
        for layer in range(layers):
            adapted[f"{match[1]}encoder.layers.{layer}.attention.bias.table"] = tensor
    return adapted
