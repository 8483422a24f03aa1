"""Compiled training steps in JAX: gradients of a micro-batch, and the update of AdamW.

Parameters are a mapping of names to arrays, the same on all devices; batches are divided over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from torch import Tensor

from beit.errors import ConfigError
from beit.settings.groups import OptimSettings

Batch = Mapping[str, Array]
Loss = Callable[[Mapping[str, Array], Batch, Array], dict[str, Array]]  # (parameters, batch, random key) -> scalars
_KINDS = {"auto": None, "cpu": "cpu", "cuda": "gpu"}


class Scale(NamedTuple):
    """Scales of a parameter: its share of the learning rate (0: frozen) and of the weight decay."""

    rate: float
    decay: float


class TrainingState(NamedTuple):
    """State that a step changes: parameters, the moments of Adam, and the moving average if one is kept."""

    params: dict[str, Array]
    moments: Any
    average: dict[str, Array] | None


def mesh_of(device: str) -> Mesh:
    """Return all devices of a kind, as JAX sees them in this process.

    Raises:
        ConfigError: If there are none.
    """
    try:
        devices = jax.devices(_KINDS[device])
    except RuntimeError:
        known = sorted({found.platform for found in jax.devices()})
        raise ConfigError(f"run.device is {device}, but JAX sees {', '.join(known)} only; install jax[cuda]") from None
    return Mesh(np.array(devices), ("data",))


class Steps:
    """Compiled functions of a run.

    Args:
        loss: What is minimised.
        scales: How each parameter learns.
        optim: The settings of AdamW.
        ema_decay: Share of the moving average that a step keeps; None: there is none.
        mesh: The devices.
    """

    def __init__(
        self, loss: Loss, scales: Mapping[str, Scale], optim: OptimSettings, ema_decay: float | None, mesh: Mesh
    ) -> None:
        self._mesh = mesh
        self._adam = optax.scale_by_adam(*optim.betas, eps=optim.eps)
        self._scales, self._limit, self._ema_decay = dict(scales), optim.clip_grad, ema_decay
        self.gradients = jax.jit(partial(_gradients, loss))
        self.update = jax.jit(self._update, donate_argnums=0)
        self.add = jax.jit(_sums, donate_argnums=0)

    def begin(self, params: Mapping[str, Array]) -> TrainingState:
        """Return the state of a run that has taken no step."""
        placed = self.replicated(dict(params))
        average = jax.tree.map(jnp.copy, placed) if self._ema_decay is not None else None
        return TrainingState(placed, self.replicated(self._adam.init(placed)), average)

    def replicated(self, tree: Any) -> Any:
        """Return arrays that every device holds whole."""
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def divided(self, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        """Return the tensors of a batch as arrays that are divided over the devices.

        Raises:
            ConfigError: If they cannot be shared.
        """
        count = self._mesh.size
        rows = {len(tensor) for tensor in tensors.values()}
        if any(number % count for number in rows):
            raise ConfigError(
                f"a batch or a part of it has {max(rows)} pictures, which {count} devices cannot share; make "
                f"train.batch_size / train.accumulate a multiple of {count}"
            )
        sharding = NamedSharding(self._mesh, PartitionSpec("data"))
        return {name: jax.device_put(tensor.cpu().numpy(), sharding) for name, tensor in tensors.items()}

    def _update(
        self, state: TrainingState, gradients: dict[str, Array], rate: Array, weight_decay: Array, first: Array
    ) -> tuple[TrainingState, Array]:
        """Return the state after an update, and the norm that the gradients had."""
        scales = self._scales
        learnt = {name: value for name, value in gradients.items() if scales[name].rate}
        norm = optax.global_norm(learnt)
        factor = 1.0 if self._limit is None else jnp.minimum(1.0, self._limit / (norm + 1e-6))
        # what is frozen keeps moments of 0: one mapping of names serves all
        clipped = {name: value * (factor if name in learnt else 0.0) for name, value in gradients.items()}
        directions: Any
        directions, moments = self._adam.update(clipped, state.moments)
        params = {
            name: value - rate * scales[name].rate * (directions[name] + weight_decay * scales[name].decay * value)
            for name, value in state.params.items()
        }
        return TrainingState(params, moments, self._averaged(state.average, params, first)), norm

    def _averaged(
        self, average: dict[str, Array] | None, params: dict[str, Array], first: Array
    ) -> dict[str, Array] | None:
        """Return the moving average after a step; the first weights are its beginning."""
        if average is None or self._ema_decay is None:
            return None
        keep = jnp.where(first, 0.0, self._ema_decay)
        return {name: value * keep + params[name] * (1 - keep) for name, value in average.items()}


def _gradients(
    loss: Loss, params: dict[str, Array], batch: dict[str, Array], key: Array, share: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the scalars of a part of a batch and the gradients of its loss, both times its share of the whole."""

    def shared(params: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        values = {name: value * share for name, value in loss(params, batch, key).items()}
        return values["loss"], values

    (_, values), gradients = jax.value_and_grad(shared, has_aux=True)(params)
    return values, gradients


def _sums(one: dict[str, Array], other: dict[str, Array]) -> dict[str, Array]:
    return {name: value + other[name] for name, value in one.items()}
