"""Parameters as a pytree, as users and Flax keep them, and as one flat mapping of names joined by dots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.core import unfreeze
from flax.traverse_util import flatten_dict
from jax import Array

from beit.errors import ConfigError
from beit.models_flax.layers import STATISTICS
from beit.weights import flax_tree

Tree = dict[str, Any]
COUNT = "num_batches_tracked"  # a count, which no half precision could hold


def joined(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of a tree by their names, joined by dots."""
    plain: Any = tree
    flat: Any = flatten_dict(unfreeze(plain), sep=".")
    return flat


def is_statistic(name: str) -> bool:
    """Return whether a leaf is a running statistic of a batch norm, which is not trained."""
    return name.rpartition(".")[2] in STATISTICS


def variables_of(params: Mapping[str, Any]) -> Tree:
    """Return the collections that a module takes: trainable parameters and running statistics."""
    leaves = joined(params)
    statistics = {name: jax.lax.stop_gradient(leaf) for name, leaf in leaves.items() if is_statistic(name)}
    learned = {name: leaf for name, leaf in leaves.items() if name not in statistics}
    return {"params": flax_tree(learned)} | ({"batch_stats": flax_tree(statistics)} if statistics else {})


def params_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of all collections by name, the statistics beside the trainable parameters."""
    return {name: leaf for collection in variables.values() for name, leaf in joined(collection).items()}


def cast(params: Mapping[str, Any], dtype: Any, mask: Mapping[str, Any] | None) -> Tree:
    """Return parameters in another floating-point type; a `mask` of the same tree says which: True = cast.

    Raises:
        ConfigError: If the mask is for other parameters.
    """
    leaves = joined(params)
    chosen = dict.fromkeys(leaves, True) if mask is None else joined(mask)
    if chosen.keys() != leaves.keys():
        other = sorted(chosen.keys() ^ leaves.keys())[:3]
        raise ConfigError(f"mask and params differ in {other}; expected a bool for every parameter")
    kept = {name for name in leaves if not chosen[name] or name.endswith(COUNT)}
    return flax_tree({name: leaf if name in kept else jnp.asarray(leaf, dtype) for name, leaf in leaves.items()})


def as_leaf(name: str, values: Any, dtype: Any) -> Array:
    """Return an array as a leaf of the parameters: a float, of the wanted type, in memory of its own."""
    if name.endswith(COUNT):  # a whole number in files, but `jax.grad` takes no whole numbers
        return jnp.asarray(values, jnp.float32)
    return jnp.array(values, values.dtype if dtype is None else dtype)
