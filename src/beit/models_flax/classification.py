"""FlaxBeitForImageClassification: one linear layer on the pooled features.

Legend: B batch, C channels, N patches, K classes; h w pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from beit.config import BeitConfig
from beit.models_flax.layers import Linear
from beit.models_flax.model import BeitModule
from beit.models_flax.pretrained import FlaxBeitPreTrainedModel
from beit.outputs import FlaxSequenceClassifierOutput


class ClassificationModule(nn.Module):
    """BEiT with a classifier on the pooled features (arXiv 2106.08254, section 2.6), channels last."""

    config: BeitConfig
    dtype: Any = jnp.float32
    scan_layers: bool = False
    gradient_checkpointing: bool = False

    @nn.compact
    def __call__(
        self,
        pixel_values: Array,
        bool_masked_pos: Array | None = None,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> FlaxSequenceClassifierOutput | tuple[Any, ...]:
        """Classify pictures (B, h, w, C); the arguments are the published ones."""
        config, dtype = self.config, self.dtype
        encoder = BeitModule(config, dtype, self.scan_layers, self.gradient_checkpointing, name="beit")
        outputs: Any = encoder(pixel_values, bool_masked_pos, deterministic, output_attentions, output_hidden_states)
        logits_BK = outputs.pooler_output
        if config.num_labels > 0:
            logits_BK = Linear(config.num_labels, dtype=dtype, name="classifier")(logits_BK)
        output = FlaxSequenceClassifierOutput(logits_BK, outputs.hidden_states, outputs.attentions)
        return output if return_dict else output.to_tuple()


FlaxBeitForImageClassificationModule = ClassificationModule  # the published name


class FlaxBeitForImageClassification(FlaxBeitPreTrainedModel):
    """BEiT with a classifier on the pooled features."""

    module_class = ClassificationModule

    def __call__(
        self,
        pixel_values: Any,
        bool_masked_pos: Any = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> FlaxSequenceClassifierOutput | tuple[Any, ...]:
        """Classify images.

        Args:
            pixel_values: (B, C, height, width), normalised; any size that the patch size divides.
            bool_masked_pos: (B, N); True = hidden from the model.
            params: Use these parameters instead of the model's own.
            dropout_rng: The key that dropout and drop path are drawn from.
            train: Whether they are on.
            output_attentions: Also return attention maps; default: the config's.
            output_hidden_states: Also return all hidden states; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.

        Returns:
            logits (B, K), and what was asked for.

        Raises:
            ConfigError: If an argument has a shape that does not fit the model.
            CheckpointError: If `params` are not of this model.
        """
        output: FlaxSequenceClassifierOutput = self._run(
            pixel_values, {"bool_masked_pos": bool_masked_pos}, params, dropout_rng, train,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
        )  # fmt: skip
        return self._as_requested(output, return_dict)
