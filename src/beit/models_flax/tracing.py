"""Registration of outputs as pytrees, so that `jit`, `grad`, `vmap` and `pmap` return them."""

from __future__ import annotations

from dataclasses import fields

from jax.tree_util import register_dataclass

from beit import outputs


def register_outputs() -> None:
    """Register every output of the Flax models with JAX as a pytree of its fields."""
    for kind in outputs.FlaxOutput.__subclasses__():
        register_dataclass(kind, data_fields=[field.name for field in fields(kind)], meta_fields=[])
