"""Conversion between a torch model and the parameters of its Flax model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from jax import Array
from torch import nn

from beit.errors import ConfigError
from beit.models_flax import FlaxBeitForImageClassification, FlaxBeitForMaskedImageModeling, FlaxBeitPreTrainedModel
from beit.models_flax.tree import variables_of
from beit.models_torch import BeitForImageClassification, BeitForMaskedImageModeling
from beit.weights import FLAX

_FLAX_CLASSES: dict[type[nn.Module], type[FlaxBeitPreTrainedModel]] = {
    BeitForMaskedImageModeling: FlaxBeitForMaskedImageModeling,
    BeitForImageClassification: FlaxBeitForImageClassification,
}
Leaves = dict[str, Array]


def flax_model(model: nn.Module, bf16: bool, recompute: bool) -> FlaxBeitPreTrainedModel:
    """Return the Flax model of the same config, without parameters.

    Args:
        model: A model of torch.
        bf16: Whether to compute in bfloat16; parameters are float32.
        recompute: Whether to compute the inside of layers again in the backward pass.

    Raises:
        ConfigError: If such models are not trained in JAX.
    """
    kind = _FLAX_CLASSES.get(type(model))
    if kind is None:
        raise ConfigError(
            f"run.framework is jax, which trains {', '.join(known.__name__ for known in _FLAX_CLASSES)} and no "
            f"{type(model).__name__}; set run.framework to torch"
        )
    config: Any = model.config
    flax = kind(config, dtype=jnp.bfloat16 if bf16 else jnp.float32, _do_init=False)
    if recompute:
        flax.enable_gradient_checkpointing()
    return flax


def leaves_of(model: nn.Module) -> Leaves:
    """Return the parameters of a model of torch under their Flax names, joined by dots, as copies."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    return {name: jnp.array(value, copy=True) for name, value in FLAX.from_canonical(tensors).items()}


def fill(model: nn.Module, leaves: Mapping[str, Any]) -> None:
    """Load Flax parameters into a torch model."""
    canonical = FLAX.to_canonical({name: np.asarray(leaf) for name, leaf in leaves.items()})
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in canonical.items()})


def leaf_names(model: nn.Module) -> dict[str, list[str]]:
    """Return the names of the Flax parameters that each torch parameter becomes, by its name."""
    return {
        name: list(FLAX.from_canonical({name: np.broadcast_to(np.float32(0), tuple(parameter.shape))}))
        for name, parameter in model.named_parameters()
    }


def apply(
    flax: FlaxBeitPreTrainedModel, params: Mapping[str, Array], pixels_BChw: Array, key: Array, **arguments: Any
) -> Any:
    """Return the output of a Flax model for pictures (B, C, h, w), in training unless it is `deterministic`."""
    options: dict[str, Any] = {"deterministic": False, **arguments}
    return flax.module.apply(variables_of(params), pixels_BChw.transpose(0, 2, 3, 1), rngs={"dropout": key}, **options)
