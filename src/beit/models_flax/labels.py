"""Checks of the labels of a batch, and the mean cross-entropy over them.

Legend: B batch, K classes.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.core import Tracer

from beit.errors import ConfigError

IGNORED = -100  # the mark of PyTorch for a label that has no loss


def check_labels(labels: Any, shape: tuple[int, ...], classes: int, ignored: int = IGNORED) -> None:
    """Refuse class indices of another shape, and, where values are known, indices that are no class.

    Raises:
        ConfigError: If labels are no whole numbers, of another shape, or out of [0, classes).
    """
    found = tuple(np.shape(labels))
    if found != shape:
        raise ConfigError(f"labels have shape {found}; expected {shape}")
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise ConfigError(
            f"labels have dtype {jnp.result_type(labels)}; expected whole numbers from 0 to {classes - 1}"
        )
    if isinstance(labels, Tracer):  # under `jit`, only shape and type are known
        return
    values = np.asarray(labels)
    real = values[values != ignored]
    if real.size and not 0 <= int(real.min()) <= int(real.max()) < classes:
        raise ConfigError(
            f"labels run from {int(real.min())} to {int(real.max())}; expected whole numbers from 0 to "
            f"{classes - 1}, or {ignored} to ignore one"
        )


def mean_cross_entropy(logits: Array, labels: Array, ignored: int = IGNORED) -> Array:
    """Return the mean cross-entropy over the labels that count, () in float32; 0 if none does.

    Args:
        logits: (..., K).
        labels: (...), whole numbers.
        ignored: The label that has no loss.
    """
    real = labels != ignored
    known = jnp.where(real, labels, 0)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), known)
    return jnp.where(real, losses, 0.0).sum() / jnp.maximum(real.sum(), 1)
