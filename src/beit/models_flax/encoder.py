"""The transformer encoder.

Legend: B batch, S = 1 + N tokens, D hidden, H heads, L layers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

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
        dropout, eps = config.hidden_dropout_prob, config.layer_norm_eps
        attention = Attention(
            config.num_attention_heads,
            self.grid if config.use_relative_position_bias else None,
            config.attention_probs_dropout_prob,
            dropout,
            dtype,
            name="attention",
        )
        normed_BSD = LayerNorm(epsilon=eps, dtype=dtype, name="layernorm_before")(tokens_BSD)
        branch_BSD, maps_BHSS = attention(normed_BSD, grid, shared_bias_1HSS, output_attentions, train)
        tokens_BSD = tokens_BSD + drop_path(self, self._scaled("lambda_1", branch_BSD), rate, train)
        normed_BSD = LayerNorm(epsilon=eps, dtype=dtype, name="layernorm_after")(tokens_BSD)
        branch_BSD = feed_forward(normed_BSD, config.intermediate_size, config.hidden_act, dropout, dtype, train)
        return tokens_BSD + drop_path(self, self._scaled("lambda_2", branch_BSD), rate, train), maps_BHSS

    def _scaled(self, name: str, branch_BSD: Array) -> Array:
        """Multiply each channel by a learned factor, if the model has layer scale (arXiv 2103.17239)."""
        if self.config.layer_scale_init_value <= 0:
            return branch_BSD
        gamma_D: Any = self.param(name, UNSET, (branch_BSD.shape[-1],))
        return branch_BSD * gamma_D.astype(branch_BSD.dtype)


class EncoderLayers(nn.Module):
    """Sequence of layers under the published names "0", "1", ...

    Attributes:
        config: All options.
        grid: The grid of the weights.
        dtype: Type of the computation.
        scan_layers: Compile one layer and loop over all, with parameters that are stacked in every call.
        gradient_checkpointing: Compute a layer's activations again in the backward pass instead of keeping them.
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
        if self.is_initializing() or not (self.scan_layers or self.gradient_checkpointing):
            options = {"output_attentions": output_attentions, "train": train}
            steps = [
                partial(layer, grid=grid, shared_bias_1HSS=shared_bias_1HSS, rate=float(rate), **options)
                for layer, rate in zip(self.layers, rates, strict=True)
            ]
            return _in_turn(steps, tokens_BSD)
        layer = EncoderLayer(self.config, self.grid, self.dtype, parent=None)

        def apply(tokens_BSD: Array, given: tuple[Any, Any, Any], bias_1HSS: Array | None) -> Any:
            parameters, rate, key = given
            rate = rate if self.config.drop_path_rate else 0.0  # a constant 0, so that no random numbers are drawn
            rngs = {} if key is None else {"dropout": key}
            arguments = (tokens_BSD, grid, bias_1HSS, rate, output_attentions, train)
            return layer.apply({"params": parameters}, *arguments, rngs=rngs)

        step = jax.checkpoint(apply) if self.gradient_checkpointing else apply
        depth = len(self.layers)
        parameters = [self.variables["params"][str(index)] for index in range(depth)]
        keys = jax.random.split(self.make_rng("dropout"), depth) if train and self.has_rng("dropout") else None
        if not self.scan_layers:
            steps = []
            for index in range(depth):
                given = (parameters[index], rates[index], None if keys is None else keys[index])
                steps.append(partial(step, given=given, bias_1HSS=shared_bias_1HSS))
            return _in_turn(steps, tokens_BSD)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parameters)

        def scanned(tokens_BSD: Array, given: Any) -> Any:
            tokens_BSD, maps_BHSS = step(tokens_BSD, given, shared_bias_1HSS)
            return tokens_BSD, (tokens_BSD, maps_BHSS)

        rates_L = jnp.asarray(rates, jnp.float32)
        _, (states_LBSD, maps_LBHSS) = jax.lax.scan(scanned, tokens_BSD, (stacked, rates_L, keys))
        return list(states_LBSD), list(maps_LBHSS) if output_attentions else [None] * depth


def _in_turn(steps: list[Callable[[Array], Any]], tokens_BSD: Array) -> tuple[list[Array], list[Array | None]]:
    """Run steps one after the other, and return the tokens and the maps of each."""
    states, maps = list[Array](), list[Array | None]()
    for step in steps:
        tokens_BSD, maps_BHSS = step(tokens_BSD)
        states.append(tokens_BSD)
        maps.append(maps_BHSS)
    return states, maps


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
