"""Loss of fine-tuning in JAX: the same as in `loss.py`.

Legend: B batch, K classes, labels or numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jax import Array

from beit.engine.jax_model import apply
from beit.engine.jax_steps import Batch, Loss
from beit.models_flax import FlaxBeitPreTrainedModel


def classification_loss(flax: FlaxBeitPreTrainedModel, weights_K: Array | None, frozen: bool) -> Loss:
    """Return the loss of one class, several labels or numbers per picture; weights_K are factors on classes."""
    kind = flax.config.problem_type

    def losses(logits_BK: Array, targets_BK: Array) -> Array:
        classes = logits_BK.shape[1]
        if kind == "regression":
            return jnp.square(logits_BK - targets_BK) / classes
        factors_K = 1.0 if weights_K is None else weights_K
        if kind == "multi_label_classification":
            return optax.sigmoid_binary_cross_entropy(logits_BK, targets_BK) * factors_K / classes
        return -targets_BK * jax.nn.log_softmax(logits_BK) * factors_K

    def scalars(params: Mapping[str, Array], batch: Batch, key: Array) -> dict[str, Array]:
        logits_BK = apply(flax, params, batch["pixel_values"], key, deterministic=frozen).logits.astype(jnp.float32)
        values = {"loss": losses(logits_BK, batch["targets"]).sum(axis=1).mean()}
        if "labels" in batch:
            values["accuracy"] = (logits_BK.argmax(axis=-1) == batch["labels"]).mean()
        return values

    return scalars
