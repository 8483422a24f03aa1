"""What a step in JAX minimises: the same as `pretraining/objective.py` and `finetuning/objective.py`.

Legend: B batch, C channels, M masked places of all pictures, V codebook size, K classes; h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from beit.errors import ConfigError
from beit.models_flax import FlaxBeitPreTrainedModel
from beit.models_flax.tree import variables_of
from beit.tasks.finetune.loss import FinetuneObjective
from beit.tasks.pretrain.loss import NOTHING, PretrainObjective

Batch = Mapping[str, Array]
Loss = Callable[[Mapping[str, Array], Batch, Array], dict[str, Array]]


def loss_of(objective: Any, flax: FlaxBeitPreTrainedModel) -> Loss:
    """Return the function (parameters, batch, random key) -> scalars that belongs to an objective of torch.

    Raises:
        ConfigError: If there is none.
    """
    if isinstance(objective, PretrainObjective):
        if objective.aggregation is not None:
            raise ConfigError("aggregation.early_layer is set, which run.framework jax has not; set it to torch")
        return _masked_image_modeling(flax)
    if isinstance(objective, FinetuneObjective):
        weights = objective.class_weights_K
        return _classification(flax, None if weights is None else jnp.asarray(weights.cpu().numpy()), objective.frozen)
    raise ConfigError(f"run.framework is jax, which does not train a {type(objective).__name__}; set it to torch")


def _masked_image_modeling(flax: FlaxBeitPreTrainedModel) -> Loss:
    def scalars(params: Mapping[str, Array], batch: Batch, key: Array) -> dict[str, Array]:
        mask_BN = batch["bool_masked_pos"].reshape(len(batch["places"]), -1)
        output = _apply(flax, params, batch, key, mask_BN=mask_BN, places_Bm=batch["places"])
        labels_M, vocab_size = batch["labels"].reshape(-1), flax.config.vocab_size
        logits_MV = output.logits.reshape(-1, vocab_size).astype(jnp.float32)
        asked_M = labels_M != NOTHING
        losses_M = optax.softmax_cross_entropy_with_integer_labels(logits_MV, jnp.where(asked_M, labels_M, 0))
        predicted_M, count = logits_MV.argmax(axis=-1), asked_M.sum()
        counts_V = jnp.zeros(vocab_size).at[predicted_M].add(asked_M)
        share_V = counts_V / count
        return {
            "loss": jnp.where(asked_M, losses_M, 0).sum() / count,
            "accuracy": (predicted_M == labels_M).sum() / count,
            "prediction_perplexity": jnp.exp(-jax.scipy.special.xlogy(share_V, share_V).sum()),
        }

    return scalars


def _classification(flax: FlaxBeitPreTrainedModel, weights_K: Array | None, frozen: bool) -> Loss:
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
        logits_BK = _apply(flax, params, batch, key, train=not frozen).logits.astype(jnp.float32)
        values = {"loss": losses(logits_BK, batch["targets"]).sum(axis=1).mean()}
        if "labels" in batch:
            values["accuracy"] = (logits_BK.argmax(axis=-1) == batch["labels"]).mean()
        return values

    return scalars


def _apply(
    flax: FlaxBeitPreTrainedModel, params: Mapping[str, Array], batch: Batch, key: Array, **arguments: Any
) -> Any:
    pixels_BhwC = batch["pixel_values"].transpose(0, 2, 3, 1)
    options: dict[str, Any] = {"train": True, **arguments}
    return flax.module.apply(variables_of(params), pixels_BhwC, rngs={"dropout": key}, **options)
