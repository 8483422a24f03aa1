"""Layers of Flax with uninitialised parameters, which `initialisation.py` fills by name.

A parameter that is not filled is NaN, so that it cannot go unnoticed.
"""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import linen as nn

UNSET = nn.initializers.constant(jnp.nan)

Linear = partial(nn.Dense, kernel_init=UNSET, bias_init=UNSET)
Conv = partial(nn.Conv, padding="SAME", kernel_init=UNSET, bias_init=UNSET)
# the kernel is kept as PyTorch's layers turn it, (height, width, out, in)
Upsample2 = partial(
    nn.ConvTranspose,
    kernel_size=(2, 2),
    strides=(2, 2),
    padding="VALID",
    transpose_kernel=True,
    kernel_init=UNSET,
    bias_init=UNSET,
)
# statistics in float32 whatever the type of the tokens; the fast variance loses the digits of small activations
LayerNorm = partial(nn.LayerNorm, use_fast_variance=False, scale_init=UNSET, bias_init=UNSET)
