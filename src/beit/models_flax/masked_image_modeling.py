"""FlaxBeitForMaskedImageModeling: prediction of the visual tokens of masked patches.

Legend: B batch, C channels, N patches, m places per picture, D hidden, V codebook size; h w pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from beit.config import BeitConfig
from beit.models_flax.layers import LayerNorm, Linear
from beit.models_flax.model import BeitModule
from beit.models_flax.pretrained import FlaxBeitPreTrainedModel
from beit.outputs import FlaxMaskedLMOutput


class MaskedImageModelingModule(nn.Module):
    """BEiT with a head over the visual tokens (arXiv 2106.08254, section 2.4), channels last."""

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
        places_Bm: Array | None = None,
    ) -> FlaxMaskedLMOutput | tuple[Any, ...]:
        """Predict a visual token for every patch of pictures (B, h, w, C), or for the patches at some places alone.

        The arguments are the published ones, and the places.
        """
        config, dtype = self.config, self.dtype
        encoder = BeitModule(config, dtype, self.scan_layers, self.gradient_checkpointing, False, name="beit")
        outputs: Any = encoder(pixel_values, bool_masked_pos, deterministic, output_attentions, output_hidden_states)
        norm = LayerNorm(epsilon=config.layer_norm_eps, dtype=dtype, name="layernorm")
        tokens_BND = outputs.last_hidden_state[:, 1:]
        if places_Bm is not None:
            tokens_BND = jnp.take_along_axis(tokens_BND, places_Bm[:, :, None], axis=1)
        logits_BNV = Linear(config.vocab_size, dtype=dtype, name="lm_head")(norm(tokens_BND))
        output = FlaxMaskedLMOutput(logits_BNV, outputs.hidden_states, outputs.attentions)
        return output if return_dict else output.to_tuple()


FlaxBeitForMaskedImageModelingModule = MaskedImageModelingModule  # the published name


class FlaxBeitForMaskedImageModeling(FlaxBeitPreTrainedModel):
    """BEiT with a head over the visual tokens."""

    module_class = MaskedImageModelingModule

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
    ) -> FlaxMaskedLMOutput | tuple[Any, ...]:
        """Predict a visual token for every patch.

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
            logits (B, N, V), and what was asked for.

        Raises:
            ConfigError: If an argument has a shape that does not fit the model.
            CheckpointError: If `params` are not of this model.
        """
        output: FlaxMaskedLMOutput = self._run(
            pixel_values, {"bool_masked_pos": bool_masked_pos}, params, dropout_rng, train,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
        )  # fmt: skip
        return self._as_requested(output, return_dict)
