"""Loss of pre-training in JAX: the same as in `loss.py`.

Legend: B batch, N patches, m places per picture, M = B * m, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import optax
from jax import Array

from beit.engine.jax_model import apply
from beit.engine.jax_steps import Batch, Loss
from beit.models_flax import FlaxBeitPreTrainedModel
from beit.tasks.pretrain.loss import NOTHING


def masked_image_modeling_loss(flax: FlaxBeitPreTrainedModel) -> Loss:
    """Return cross-entropy and accuracy of the tokens of masked patches, and frequencies of true and predicted ones."""

    def scalars(params: Mapping[str, Array], batch: Batch, key: Array) -> dict[str, Array]:
        mask_BN = batch["bool_masked_pos"].reshape(len(batch["places"]), -1)
        output = apply(flax, params, batch["pixel_values"], key, bool_masked_pos=mask_BN, places_Bm=batch["places"])
        labels_M, vocab_size = batch["labels"].reshape(-1), flax.config.vocab_size
        logits_MV = output.logits.reshape(-1, vocab_size).astype(jnp.float32)
        asked_M = labels_M != NOTHING
        losses_M = optax.softmax_cross_entropy_with_integer_labels(logits_MV, jnp.where(asked_M, labels_M, 0))
        predicted_M, count = logits_MV.argmax(axis=-1), asked_M.sum()
        frequencies = {
            f"{name}_perplexity": jnp.zeros(vocab_size).at[codes_M].add(asked_M) / count
            for name, codes_M in (("prediction", predicted_M), ("target", jnp.where(asked_M, labels_M, 0)))
        }
        return {
            "loss": jnp.where(asked_M, losses_M, 0).sum() / count,
            "accuracy": (predicted_M == labels_M).sum() / count,
            **frequencies,
        }

    return scalars
