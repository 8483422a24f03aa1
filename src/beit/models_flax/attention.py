"""Self-attention with relative position bias.

Legend: B batch, S = 1 + N tokens, D hidden, H heads, d = D / H.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from beit.geometry import Grid
from beit.models_flax.layers import Projection
from beit.models_flax.relative_position import RelativePositionBias
from beit.models_flax.uninitialised import Linear


def fused_attention(query_BSHd: Array, key_BSHd: Array, value_BSHd: Array, bias_1HSS: Array | None) -> Array:
    """Return the context (B, S, H, d) by the fused form of the platform.

    That is `jax.nn.dot_product_attention`, but on CPUs XLA makes one kernel of the formulation below, and several of
    that function: 11 against 28 ms for a layer of eight pictures of a base model.
    """
    return jax.lax.platform_dependent(
        query_BSHd, key_BSHd, value_BSHd, bias_1HSS, cpu=_heads_first, default=jax.nn.dot_product_attention
    )


def _heads_first(query_BSHd: Array, key_BSHd: Array, value_BSHd: Array, bias_1HSS: Array | None) -> Array:
    """Return the context, divided by the sum of the softmax after the product: d divisions per row instead of S."""
    query_BHSd, key_BHSd, value_BHSd = (part.transpose(0, 2, 1, 3) for part in (query_BSHd, key_BSHd, value_BSHd))
    scores_BHSS = _scores(query_BHSd, key_BHSd, bias_1HSS)
    largest_BHS1 = jax.lax.stop_gradient(scores_BHSS.max(-1, keepdims=True))
    weights_BHSS = jnp.exp(scores_BHSS - largest_BHS1)
    context_BHSd = jnp.einsum(
        "bhqk,bhkd->bhqd",
        weights_BHSS.astype(value_BHSd.dtype),
        value_BHSd,
        preferred_element_type=jnp.float32,
    )
    context_BHSd = context_BHSd / weights_BHSS.sum(-1, keepdims=True)
    return context_BHSd.transpose(0, 2, 1, 3).astype(value_BSHd.dtype)


def _scores(query_BHSd: Array, key_BHSd: Array, bias_1HSS: Array | None) -> Array:
    """Return the scores before the softmax, in float32."""
    query_BHSd = query_BHSd * query_BHSd.shape[-1] ** -0.5
    scores_BHSS = jnp.einsum("bhqd,bhkd->bhqk", query_BHSd, key_BHSd, preferred_element_type=jnp.float32)
    return scores_BHSS if bias_1HSS is None else scores_BHSS + bias_1HSS


def _maps(query_BHSd: Array, key_BHSd: Array, bias_1HSS: Array | None) -> Array:
    """Return the attention maps by the formula of the paper."""
    return jax.nn.softmax(_scores(query_BHSd, key_BHSd, bias_1HSS), axis=-1).astype(query_BHSd.dtype)


class SelfAttention(nn.Module):
    """Attention without its output projection; queries and values have a bias, keys have none.

    The published names keep three projections, and XLA merges their products where that is faster.
    """

    heads: int
    grid: Grid | None = None
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens_BSD: Array,
        grid: Grid,
        shared_bias_1HSS: Array | None = None,
        output_attentions: bool = False,
        train: bool = False,
    ) -> tuple[Array, Array | None]:
        """Return the context (B, S, D), and the attention maps (B, H, S, S) if asked for."""
        B, S, D = tokens_BSD.shape
        query_BSHd, key_BSHd, value_BSHd = (
            Linear(D, use_bias=name != "key", dtype=self.dtype, name=name)(tokens_BSD).reshape(B, S, self.heads, -1)
            for name in ("query", "key", "value")
        )
        bias_1HSS = shared_bias_1HSS
        if self.grid is not None:
            own_bias_1HSS = RelativePositionBias(self.heads, self.grid, name="relative_position_bias")(grid)
            bias_1HSS = own_bias_1HSS if bias_1HSS is None else own_bias_1HSS + bias_1HSS
        # the fused form has neither maps nor dropout
        if not output_attentions and not (train and self.dropout):
            context_BSHd = fused_attention(query_BSHd, key_BSHd, value_BSHd, bias_1HSS)
            return context_BSHd.reshape(B, S, D), None
        maps_BHSS = _maps(query_BSHd.transpose(0, 2, 1, 3), key_BSHd.transpose(0, 2, 1, 3), bias_1HSS)
        maps_BHSS = nn.Dropout(self.dropout)(maps_BHSS, deterministic=not train)
        context_BSHd = jnp.einsum("bhqk,bkhd->bqhd", maps_BHSS, value_BSHd)
        return context_BSHd.reshape(B, S, D), maps_BHSS if output_attentions else None


class Attention(nn.Module):
    """Multi-head self-attention with its output projection.

    Attributes:
        heads: Number of heads.
        grid: The grid of this layer's own relative position bias, None if it has none.
        dropout: Dropout of attention probabilities.
        out_dropout: Dropout of the result.
        dtype: Type of the computation.
    """

    heads: int
    grid: Grid | None = None
    dropout: float = 0.0
    out_dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens_BSD: Array,
        grid: Grid,
        shared_bias_1HSS: Array | None = None,
        output_attentions: bool = False,
        train: bool = False,
    ) -> tuple[Array, Array | None]:
        """Return the branch (B, S, D), and the attention maps (B, H, S, S) if asked for.

        Args:
            tokens_BSD: Normalised tokens.
            grid: The patch grid.
            shared_bias_1HSS: A bias that all layers share, added to this layer's own.
            output_attentions: Whether to return the maps, which costs the fused form.
            train: Whether dropout is on.
        """
        attend = SelfAttention(self.heads, self.grid, self.dropout, self.dtype, name="attention")
        context_BSD, maps_BHSS = attend(tokens_BSD, grid, shared_bias_1HSS, output_attentions, train)
        branch_BSD = Projection(tokens_BSD.shape[-1], self.dtype, name="output")(context_BSD)
        return nn.Dropout(self.out_dropout)(branch_BSD, deterministic=not train), maps_BHSS
