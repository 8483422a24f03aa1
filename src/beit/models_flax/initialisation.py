"""Initialisation of every parameter, as one table of published names; the first line that matches a name counts.

"original code" is `modeling_pretrain.py` and `modeling_finetune.py` of microsoft/unilm. Each value is drawn from a key
that the name is folded into, so it depends on seed, name and shape alone.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from beit.config import BeitConfig
from beit.weights.match import Shape

CLASSIFIER_SCALE = 0.001
Start = Callable[[Array, Shape, BeitConfig, re.Match[str]], Array]


@partial(jax.jit, static_argnums=1)
def _truncated_normal(key: Array, shape: Shape, std: float) -> Array:
    """Return values of a normal distribution that is cut at one standard deviation."""
    return std * jax.random.truncated_normal(key, -1.0, 1.0, shape, jnp.float32)


def _normal(key: Array, shape: Shape, config: BeitConfig, _: re.Match[str]) -> Array:
    return _truncated_normal(key, shape, config.initializer_range)


def _near_zero(key: Array, shape: Shape, config: BeitConfig, _: re.Match[str]) -> Array:
    return _truncated_normal(key, shape, CLASSIFIER_SCALE * config.initializer_range)


def _rescaled(key: Array, shape: Shape, config: BeitConfig, match: re.Match[str]) -> Array:
    number = int(match["layer"]) + 1
    return _truncated_normal(key, shape, config.initializer_range / (2 * number) ** 0.5)


def _zeros(key: Array, shape: Shape, *_: object) -> Array:
    return jnp.zeros(shape, jnp.float32)


def _ones(key: Array, shape: Shape, *_: object) -> Array:
    return jnp.ones(shape, jnp.float32)


def _layer_scale(key: Array, shape: Shape, config: BeitConfig, _: re.Match[str]) -> Array:
    return jnp.full(shape, config.layer_scale_init_value, jnp.float32)


TABLE: tuple[tuple[str, Start], ...] = (
    # biases, and the relative position bias                                          original code
    (r".*\.bias|.*relative_position_bias_table", _zeros),
    # layer norms and batch norms: weight 1, running mean 0, variance 1               original code
    (r".*\.(scale|var)", _ones),
    (r".*\.(mean|num_batches_tracked)", _zeros),
    # layer scale: `layer_scale_init_value`                                           paper, section 3.1
    (r".*\.lambda_[12]", _layer_scale),
    # attention output, second feed-forward: divided by sqrt(2 l), layer l = 1, 2 ... paper, section 2.5
    (r".*layer\.(?P<layer>\d+)\.(attention\.)?output\.dense\.kernel", _rescaled),
    # classification head: multiplied by 0.001                                        original code
    (r"classifier\.kernel", _near_zero),
    # all other kernels, [CLS], mask token and positions: truncated normal,           original code
    # std `initializer_range`, cut at one standard deviation
    (r".*", _normal),
)


def initial_values(key: Array, shapes: Mapping[str, Shape], config: BeitConfig) -> dict[str, Array]:
    """Return the initial values of parameters of these names and shapes."""
    return {name: _start(jax.random.fold_in(key, zlib.crc32(name.encode())), name, shapes[name], config)
            for name in shapes}  # fmt: skip


def _start(key: Array, name: str, shape: Shape, config: BeitConfig) -> Array:
    for pattern, start in TABLE:
        if match := re.fullmatch(pattern, name):
            return start(key, shape, config, match)
    raise AssertionError(name)  # the last line matches every name
