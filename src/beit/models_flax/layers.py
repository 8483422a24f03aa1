"""Small layers shared by all models: those of Flax, activation, drop path, feed-forward network, batch norm.

Legend: B batch, S = 1 + N tokens, D hidden, C channels; y x rows and columns of a map.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from beit.models_flax import kernels

# `initialisation.py` fills parameters by name; one that is not filled is NaN, so that it cannot go unnoticed
UNSET = nn.initializers.constant(jnp.nan)

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

Activation = Callable[[Array], Array]
ACTIVATIONS: dict[str, Activation] = {
    "gelu": kernels.gelu,
    "relu": jax.nn.relu,
    "selu": jax.nn.selu,
    "gelu_new": partial(jax.nn.gelu, approximate=True),
}
_MOMENTUM = 0.1  # share of a new batch in the running statistics
STATISTICS = ("mean", "var", "num_batches_tracked")


def activation(name: str | Activation) -> Activation:
    """Return the activation of this name, or the callable itself."""
    return ACTIVATIONS[name] if isinstance(name, str) else name


class Linear(nn.Module):
    """Linear layer over the last axis, `nn.Dense` with the product of `kernels`."""

    features: int
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens_BSD: Array, gamma_D: Array | None = None, kept_B11: Array | None = None) -> Array:
        """Return (B, S, features), each channel and each sample times its factor, if there are any.

        The factors are taken to the kernel, the bias and the tokens. So the gradient of the result goes into the
        products as it is, and XLA keeps it, where it would compute it again for each pass that multiplies it first.
        """
        kernel_DE: Any = self.param("kernel", UNSET, (tokens_BSD.shape[-1], self.features))
        bias_E: Any = self.param("bias", UNSET, (self.features,)) if self.use_bias else None
        if gamma_D is not None:
            kernel_DE, bias_E = kernel_DE * gamma_D, None if bias_E is None else bias_E * gamma_D
        tokens_BSD = tokens_BSD.astype(self.dtype)
        if kept_B11 is not None:
            tokens_BSD = tokens_BSD * kept_B11.astype(self.dtype)
        product_BSE = kernels.product(tokens_BSD, kernel_DE.astype(self.dtype))
        if bias_E is None:
            return product_BSE
        bias_E = bias_E.astype(self.dtype)
        return product_BSE + (bias_E if kept_B11 is None else bias_E * kept_B11.astype(self.dtype))


def drop_path(module: nn.Module, samples: int, rate: Any, train: bool) -> Array | None:
    """Return the factor of each sample's branch, (B, 1, 1), 0 or at least 1 (stochastic depth, arXiv 1603.09382).

    Args:
        module: The module whose rng is used.
        samples: How many there are, B.
        rate: Share of the samples that lose the branch; an array where a scan goes over the layers.
        train: Whether the model is trained; there are no factors in evaluation.
    """
    if not train or (isinstance(rate, float) and rate == 0.0):
        return None
    keep = 1.0 - rate
    kept_B11 = jax.random.bernoulli(module.make_rng("dropout"), keep, (samples, 1, 1))
    return kept_B11 / jnp.maximum(keep, 1e-12)


class Projection(nn.Module):
    """Linear layer under its published name, "dense", that may end a residual branch."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens_BSD: Array,
        gamma_D: Array | None = None,
        kept_B11: Array | None = None,
        train: bool = False,
    ) -> Array:
        """Return (B, S, features), times layer scale and drop path; in an answer the fewer numbers are multiplied."""
        linear = Linear(self.features, dtype=self.dtype, name="dense")
        if train or gamma_D is None:
            return linear(tokens_BSD, gamma_D, kept_B11)
        return linear(tokens_BSD) * gamma_D.astype(self.dtype)


def feed_forward(
    tokens_BSD: Array,
    hidden: int,
    act: str | Activation,
    dropout: float,
    dtype: Any,
    gamma_D: Array | None,
    kept_B11: Array | None,
    train: bool,
) -> Array:
    """Two linear layers with an activation between them; "intermediate" and "output" of the module that calls."""
    hidden_BSE = activation(act)(Projection(hidden, dtype, name="intermediate")(tokens_BSD))
    output = Projection(tokens_BSD.shape[-1], dtype, name="output")
    return nn.Dropout(dropout)(output(hidden_BSE, gamma_D, kept_B11, train), deterministic=not train)


class BatchNorm(nn.Module):
    """Batch norm with the running statistics of PyTorch: unbiased running variance, and a count of the batches.

    The running statistics are the collection "batch_stats"; models show them beside the parameters, as files have it.
    """

    eps: float = 1e-5

    @nn.compact
    def __call__(self, map_ByxC: Array, train: bool) -> Array:
        """Return the normalised map: by the statistics of the batch in training, else by the running ones."""
        channels, type_in = map_ByxC.shape[-1], map_ByxC.dtype
        scale_C = self.param("scale", UNSET, (channels,))
        bias_C = self.param("bias", UNSET, (channels,))
        shapes = {"mean": (channels,), "var": (channels,), "num_batches_tracked": ()}
        stats = {name: self.variable("batch_stats", name, jnp.full, shapes[name], jnp.nan) for name in STATISTICS}
        map_ByxC = map_ByxC.astype(jnp.float32)
        mean_C, var_C = stats["mean"].value, stats["var"].value
        if train:
            mean_C, var_C = map_ByxC.mean((0, 1, 2)), map_ByxC.var((0, 1, 2))
            if self.is_mutable_collection("batch_stats"):
                self._keep(stats, mean_C, var_C, map_ByxC.size // channels)
        factor_C = scale_C * jax.lax.rsqrt(var_C.astype(jnp.float32) + self.eps)
        return ((map_ByxC - mean_C) * factor_C + bias_C).astype(type_in)

    def _keep(self, stats: dict[str, Any], mean_C: Array, var_C: Array, count: int) -> None:
        unbiased_C = var_C * (count / max(count - 1, 1))
        for name, new_C in (("mean", mean_C), ("var", unbiased_C)):
            old_C = stats[name].value
            mixed_C = (1 - _MOMENTUM) * old_C + _MOMENTUM * jax.lax.stop_gradient(new_C)
            stats[name].value = mixed_C.astype(old_C.dtype)
        stats["num_batches_tracked"].value = stats["num_batches_tracked"].value + 1
