"""FlaxBeitModel: the encoder, without a head for any task.

Legend: B batch, C channels, N patches, S = 1 + N tokens, D hidden, H heads; h w pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from beit.config import BeitConfig
from beit.geometry import patch_grid
from beit.models_flax.embeddings import Embeddings
from beit.models_flax.encoder import Encoder
from beit.models_flax.layers import LayerNorm
from beit.models_flax.pretrained import FlaxBeitPreTrainedModel
from beit.outputs import FlaxBeitModelOutputWithPooling


class Pooler(nn.Module):
    """One vector per image: the normalised mean of the patch tokens, or the [CLS] token."""

    eps: float
    mean_pooling: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens_BSD: Array) -> Array:
        """Return (B, D)."""
        if not self.mean_pooling:
            return tokens_BSD[:, 0]
        mean_BD = tokens_BSD[:, 1:].astype(jnp.float32).mean(axis=1)
        return LayerNorm(epsilon=self.eps, dtype=self.dtype, name="layernorm")(mean_BD)


class BeitModule(nn.Module):
    """The BEiT encoder (arXiv 2106.08254, section 2), channels last."""

    config: BeitConfig
    dtype: Any = jnp.float32
    scan_layers: bool = False
    gradient_checkpointing: bool = False
    add_pooling_layer: bool = True

    @nn.compact
    def __call__(
        self,
        pixel_values: Array,
        bool_masked_pos: Array | None = None,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> FlaxBeitModelOutputWithPooling | tuple[Any, ...]:
        """Encode pictures (B, h, w, C); the arguments are the published ones."""
        config, dtype = self.config, self.dtype
        own_grid = patch_grid(config.image_size, config.patch_size)
        tokens_BSD, grid = Embeddings.of(config, own_grid, dtype)(pixel_values, bool_masked_pos, not deterministic)
        encoder = Encoder(config, own_grid, dtype, self.scan_layers, self.gradient_checkpointing, name="encoder")
        encoded = encoder(tokens_BSD, grid, output_attentions, output_hidden_states, not deterministic)
        tokens_BSD = encoded.last_hidden_state
        if not config.use_mean_pooling:  # with mean pooling the pooler normalises; without it, every token here
            tokens_BSD = LayerNorm(epsilon=config.layer_norm_eps, dtype=dtype, name="layernorm")(tokens_BSD)
        pooler = Pooler(config.layer_norm_eps, config.use_mean_pooling, dtype, name="pooler")
        output = FlaxBeitModelOutputWithPooling(
            last_hidden_state=tokens_BSD,
            pooler_output=pooler(tokens_BSD) if self.add_pooling_layer else None,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.to_tuple()


FlaxBeitModule = BeitModule  # the published name


class FlaxBeitModel(FlaxBeitPreTrainedModel):
    """The BEiT encoder."""

    module_class = BeitModule

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
    ) -> FlaxBeitModelOutputWithPooling | tuple[Any, ...]:
        """Encode images.

        Args:
            pixel_values: (B, C, height, width), normalised; any size that the patch size divides.
            bool_masked_pos: (B, N); True = hidden from the model, replaced by the mask token.
            params: Use these parameters instead of the model's own.
            dropout_rng: The key that dropout and drop path are drawn from.
            train: Whether they are on.
            output_attentions: Also return attention maps; default: the config's.
            output_hidden_states: Also return all hidden states; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.

        Returns:
            last_hidden_state (B, S, D), pooler_output (B, D), and what was asked for.

        Raises:
            ConfigError: If an argument has a shape that does not fit the model.
            CheckpointError: If `params` are not of this model.
        """
        output: FlaxBeitModelOutputWithPooling = self._run(
            pixel_values, {"bool_masked_pos": bool_masked_pos}, params, dropout_rng, train,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
        )  # fmt: skip
        return self._as_requested(output, return_dict)
