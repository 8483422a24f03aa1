"""Matrix products, attention and GELU in the form that is fastest on the platform.

Legend: B batch, S = 1 + N tokens, D hidden, H heads, d = D / H.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def product(tokens: Array, kernel: Array) -> Array:
    """Return tokens (..., D) times a kernel (D, E), as one product of two matrices.

    Of tokens in more dimensions, XLA's CPU compiler computes the kernel's gradient from a transposed copy, into which
    it fuses the sum of the gradients of all layers above: a step's work then grows by the square of the depth.
    """
    return (tokens.reshape(-1, tokens.shape[-1]) @ kernel).reshape(*tokens.shape[:-1], kernel.shape[-1])


def attention(query_BSHd: Array, key_BSHd: Array, value_BSHd: Array, bias_1HSS: Array | None) -> Array:
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


def attention_maps(query_BSHd: Array, key_BSHd: Array, bias_1HSS: Array | None) -> Array:
    """Return the attention maps (B, H, S, S) by the formula of the paper."""
    query_BHSd, key_BHSd = query_BSHd.transpose(0, 2, 1, 3), key_BSHd.transpose(0, 2, 1, 3)
    return jax.nn.softmax(_scores(query_BHSd, key_BHSd, bias_1HSS), axis=-1).astype(query_BSHd.dtype)


def gelu(x: Array) -> Array:
    """Return x times the normal distribution function of x.

    By erf, since erfc, which `jax.nn.gelu` takes, costs twice as much; in float32, because 1 + erf loses the digits of
    negative numbers in half precision.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (0.5 * wide * (1 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)
