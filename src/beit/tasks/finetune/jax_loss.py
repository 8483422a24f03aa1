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
from beit.tasks.finetune.loss import weighted


def classification_loss(flax: FlaxBeitPreTrainedModel, weights_K: Array | None, frozen: bool, smoothing: float) -> Loss:
    """Return the loss of one class, several labels or numbers per picture.

    Args:
        flax: The classifier.
        weights_K: Factors on the loss of each class, or None.
        frozen: Whether the encoder computes as in evaluation.
        smoothing: Share of the targets that is spread over all classes.
    """
    kind = flax.config.problem_type

    def losses(logits_BK: Array, targets_BK: Array) -> Array:
        classes = logits_BK.shape[1]
        if kind == "regression":
            return jnp.square(logits_BK - targets_BK) / classes
        if kind == "multi_label_classification":
            factors_K = 1.0 if weights_K is None else weights_K
            return optax.sigmoid_binary_cross_entropy(logits_BK, targets_BK) * factors_K / classes
        if weights_K is not None:
            targets_BK = weighted(targets_BK, weights_K, smoothing)
        return -targets_BK * jax.nn.log_softmax(logits_BK)

    def scalars(params: Mapping[str, Array], batch: Batch, key: Array) -> dict[str, Array]:
        logits_BK = apply(flax, params, batch["pixel_values"], key, deterministic=frozen).logits.astype(jnp.float32)
        values = {"loss": losses(logits_BK, batch["targets"]).sum(axis=1).mean()}
        if "labels" in batch:
            values["accuracy"] = (logits_BK.argmax(axis=-1) == batch["labels"]).mean()
        return values

    return scalars
