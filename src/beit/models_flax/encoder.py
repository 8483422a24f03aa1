"""The transformer encoder.

Legend: B batch, S = 1 + N tokens, T = B S rows, D hidden, H heads, L layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from numpy.typing import NDArray

from beit.config import BeitConfig
from beit.geometry import Grid
from beit.models_flax.attention import Attention, RelativePositionBias
from beit.models_flax.layers import UNSET, LayerNorm, drop_path, feed_forward


class Encoded(NamedTuple):
    """Tokens after the last layer, and what was asked for: the input and every layer's tokens, every layer's maps."""

    last_hidden_state: Array
    hidden_states: tuple[Array, ...] | None
    attentions: tuple[Array, ...] | None


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer: x + scale(attention(norm(x))), then x + scale(feed_forward(norm(x)))."""

    config: BeitConfig
    grid: Grid
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens_BSD: Array,
        grid: Grid,
        shared_bias_1HSS: Array | None = None,
        rate: Any = 0.0,
        output_attentions: bool = False,
        train: bool = False,
    ) -> tuple[Array, Array | None]:
        """Return the tokens (B, S, D), and the attention maps (B, H, S, S) if asked for; `rate` is of drop path."""
        config, dtype = self.config, self.dtype
        dropout, eps, (B, S, D) = config.hidden_dropout_prob, config.layer_norm_eps, tokens_BSD.shape
        attention = Attention(
            config.num_attention_heads,
            self.grid if config.use_relative_position_bias else None,
            config.attention_probs_dropout_prob,
            dropout,
            dtype,
            name="attention",
        )
        rows_TD = tokens_BSD.reshape(B * S, D)  # as the products have them: XLA keeps their gradient, once
        normed_TD = LayerNorm(epsilon=eps, dtype=dtype, name="layernorm_before")(rows_TD)
        scales = self._gamma("lambda_1", D), drop_path(self, B, rate, train)
        branch_BSD, maps_BHSS = attention(
            normed_TD.reshape(B, S, D), grid, shared_bias_1HSS, *scales, output_attentions, train
        )
        rows_TD = rows_TD + branch_BSD.reshape(B * S, D)
        normed_TD = LayerNorm(epsilon=eps, dtype=dtype, name="layernorm_after")(rows_TD)
        scales = self._gamma("lambda_2", D), drop_path(self, B, rate, train)
        hidden, act = config.intermediate_size, config.hidden_act
        branch_BSD = feed_forward(normed_TD.reshape(B, S, D), hidden, act, dropout, dtype, *scales, train)
        return (rows_TD + branch_BSD.reshape(B * S, D)).reshape(B, S, D), maps_BHSS

    def _gamma(self, name: str, channels: int) -> Array | None:
        """Return the learned factor of each channel, if the model has layer scale (arXiv 2103.17239)."""
        gamma_D: Any = None
        if self.config.layer_scale_init_value > 0:
            gamma_D = self.param(name, UNSET, (channels,))
        return gamma_D


class EncoderLayers(nn.Module):
    """Sequence of layers under the published names "0", "1", ...

    Attributes:
        config: All options.
        grid: The grid of the weights.
        dtype: Type of the computation.
        scan_layers: Compile one layer and loop over all, with parameters that are stacked in every call.
        gradient_checkpointing: Compute a layer's activations again in the backward pass instead of keeping them; in a
            loop, since XLA's CPU compiler finds equal computations outside of one, and keeps the first.
    """

    config: BeitConfig
    grid: Grid
    dtype: Any = jnp.float32
    scan_layers: bool = False
    gradient_checkpointing: bool = False

    def setup(self) -> None:
        """Make the layers."""
        self.layers = [
            EncoderLayer(self.config, self.grid, self.dtype, name=str(index))
            for index in range(self.config.num_hidden_layers)
        ]

    def __call__(
        self, tokens_BSD: Array, grid: Grid, shared_bias_1HSS: Array | None, output_attentions: bool, train: bool
    ) -> tuple[list[Array], list[Array | None]]:
        """Return the tokens after every layer, and the attention maps of every layer."""
        rates = np.linspace(0, self.config.drop_path_rate, len(self.layers))
        # parameters are created layer by layer, however they are used later
        if not self.is_initializing() and (self.scan_layers or self.gradient_checkpointing):
            return self._looped(rates, tokens_BSD, grid, shared_bias_1HSS, output_attentions, train)
        states, maps = list[Array](), list[Array | None]()
        for layer, rate in zip(self.layers, rates, strict=True):
            tokens_BSD, maps_BHSS = layer(tokens_BSD, grid, shared_bias_1HSS, float(rate), output_attentions, train)
            states.append(tokens_BSD)
            maps.append(maps_BHSS)
        return states, maps

    def _looped(
        self,
        rates: NDArray[np.float64],
        tokens_BSD: Array,
        grid: Grid,
        shared_bias_1HSS: Array | None,
        output_attentions: bool,
        train: bool,
    ) -> tuple[list[Array], list[Array | None]]:
        """Return the same from a loop over the layers."""
        layer, depth = EncoderLayer(self.config, self.grid, self.dtype, parent=None), len(self.layers)

        def apply(tokens_BSD: Array, parameters: Any, rate: Any, key: Array | None, bias_1HSS: Array | None) -> Any:
            rate = rate if self.config.drop_path_rate else 0.0  # a constant 0, so that no random numbers are drawn
            rngs = {} if key is None else {"dropout": key}
            arguments = (tokens_BSD, grid, bias_1HSS, rate, output_attentions, train)
            return layer.apply({"params": parameters}, *arguments, rngs=rngs)

        step = jax.checkpoint(apply) if self.gradient_checkpointing else apply

        def scanned(tokens_BSD: Array, given: Any) -> Any:
            parameters, rate, key = given
            tokens_BSD, maps_BHSS = step(tokens_BSD, parameters, rate, key, shared_bias_1HSS)
            return tokens_BSD, (tokens_BSD, maps_BHSS)

        parameters = [self.variables["params"][str(index)] for index in range(depth)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parameters)
        keys = jax.random.split(self.make_rng("dropout"), depth) if train and self.has_rng("dropout") else None
        given = (stacked, jnp.asarray(rates, jnp.float32), keys)
        _, (states_LBSD, maps_LBHSS) = jax.lax.scan(scanned, tokens_BSD, given)
        return list(states_LBSD), list(maps_LBHSS) if output_attentions else [None] * depth


class Encoder(nn.Module):
    """Stack of all layers, with the relative position bias that they share in pre-training."""

    config: BeitConfig
    grid: Grid
    dtype: Any = jnp.float32
    scan_layers: bool = False
    gradient_checkpointing: bool = False

    @nn.compact
    def __call__(
        self,
        tokens_BSD: Array,
        grid: Grid,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        train: bool = False,
    ) -> Encoded:
        """Encode tokens that lie on a grid."""
        config = self.config
        shared_bias_1HSS = None
        if config.use_shared_relative_position_bias:  # looked up once for all layers
            bias = RelativePositionBias(config.num_attention_heads, self.grid, name="relative_position_bias")
            shared_bias_1HSS = bias(grid)
        layers = EncoderLayers(
            config, self.grid, self.dtype, self.scan_layers, self.gradient_checkpointing, name="layer"
        )
        states, maps = layers(tokens_BSD, grid, shared_bias_1HSS, output_attentions, train)
        present = tuple(map_BHSS for map_BHSS in maps if map_BHSS is not None)
        return Encoded(
            states[-1],
            (tokens_BSD, *states) if output_hidden_states else None,
            present if output_attentions else None,
        )
