"""Muon for the weight matrices of an encoder's hidden layers, AdamW for everything else: one optimiser of two."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from beit.errors import ConfigError
from beit.settings.groups import OptimSettings, RunSettings, TrainingPrecision

_HIDDEN_WEIGHT = re.compile(r"(^|\.)encoder\.layer\.\d+\.(.+\.)?weight$")
# as published
_MOMENTUM, _SCALE = 0.95, 0.2
_COEFFICIENTS, _ITERATIONS, _LEAST_NORM = (3.4445, -4.775, 2.0315), 5, 1e-7


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Return whether a parameter is a weight matrix of attention or feed-forward network in an encoder layer.

    Queries, keys and values are a matrix each. Bias tables, and the thin matrices of a low-rank adaptation, are none.

    Args:
        name: Of the parameter, such as "beit.encoder.layer.0.output.dense.weight".
        parameter: Of any shape.
    """
    return parameter.dim() == 2 and _HIDDEN_WEIGHT.search(name) is not None


def check_muon(optim: OptimSettings, run: RunSettings) -> None:
    """Refuse Muon where it is not computed: in JAX.

    Raises:
        ConfigError: Naming the settings.
    """
    if optim.name != "muon":
        return
    if run.framework == "jax":
        raise ConfigError(
            "optim.name is muon and run.framework is jax, which computes AdamW only; set optim.name to adamw, or "
            "run.framework to torch"
        )


class Muon(torch.optim.Optimizer):
    """Muon: the momentum of a matrix, orthogonalised.

    torch's own iterates in bfloat16, one matrix after the other. Without instructions for bfloat16 a CPU takes four
    times as long for that as in float32, half of the step of a small model; and a GPU is done with a small matrix
    before the next one reaches it. So this one iterates in float32 on CPUs unless the run computes in bfloat16, and
    elsewhere in bfloat16 over all matrices of a shape at once.

    Args:
        groups: Parameter groups of matrices, each with its weight decay.
        lr: Learning rate.
        precision: Of the run.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the scale is that of arXiv
    2502.16982, section 2.2.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, precision: TrainingPrecision) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "momentum": _MOMENTUM})
        self._on_cpu = torch.bfloat16 if precision == "bf16" else torch.float32

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update all matrices from their gradients."""
        learning = ((group, part) for group in self.param_groups for part in group["params"] if part.grad is not None)
        groups = {parameter: group for group, parameter in learning}
        for members in _of_one_shape(groups):  # whatever their rates, which count afterwards
            directions = [self._direction(parameter, groups[parameter]["momentum"]) for parameter in members]
            for parameter, update in zip(members, orthogonalised(directions, self._on_cpu), strict=True):
                group = groups[parameter]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * _SCALE * sqrt(max(parameter.shape)))

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """Return the gradient, moved towards its running mean (Nesterov)."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None  # noqa: S101  # for the type checker
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["momentum_buffer"], momentum)


def _of_one_shape(matrices: Iterable[Tensor]) -> list[list[Tensor]]:
    """Return the matrices that are orthogonalised together: those of one shape, where there is something to gain.

    A CPU is busy with one; and those that are divided over processes are computed by all of them as they are.
    """
    found: dict[Any, list[Tensor]] = {}
    for number, matrix in enumerate(matrices):
        together = type(matrix) is torch.nn.Parameter and matrix.device.type != "cpu"
        found.setdefault((matrix.shape, matrix.dtype, matrix.device) if together else number, []).append(matrix)
    return list(found.values())


def orthogonalised(matrices: list[Tensor], on_cpu: torch.dtype) -> list[Tensor]:
    """Return matrices of one shape with all their singular values between about 0.7 and 1.2.

    Args:
        matrices: On one device.
        on_cpu: Data type of the iterations if that is a CPU.
    """
    dtype = on_cpu if matrices[0].device.type == "cpu" else torch.bfloat16
    if len(matrices) == 1:
        return [_iterated(matrices[0].to(dtype))]
    return list(_iterated(torch.stack(matrices).to(dtype)).unbind())


def iteration_flops(rows: int, columns: int) -> float:
    """Return the operations of orthogonalising a matrix, two for each multiplication and addition of its products."""
    short, long = sorted((rows, columns))
    return 2.0 * _ITERATIONS * (2 * short**2 * long + short**3)


def _iterated(matrices: Tensor) -> Tensor:
    """Return one matrix or several (..., rows, columns) after five Newton-Schulz iterations."""
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    rows = matrices.mT if is_tall else matrices
    added = torch.addmm if rows.dim() == 2 else torch.baddbmm
    rows = rows / torch.linalg.vector_norm(rows, dim=(-2, -1), keepdim=True).clamp(min=_LEAST_NORM)
    first, second, third = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = rows @ rows.mT
        rows = added(rows, added(gram, gram, gram, beta=second, alpha=third), rows, beta=first)
    return rows.mT if is_tall else rows


class MuonAdamW:
    """Muon over the groups of hidden matrices, AdamW over the others; used like an optimiser of torch.

    An update of Muon is scaled by 0.2 sqrt(max(rows, columns)). That gives it the root mean square of AdamW's updates,
    so that both take the same learning rate and weight decay. Of parameters that are divided over processes (FSDP2),
    the products of the iterations are too; their sums round in another order.

    Args:
        groups: Parameter groups; those that are `hidden` hold matrices only.
        optim: Learning rate, and the options of AdamW.
        precision: Of the run, in which Muon iterates on CPUs.

    Attributes:
        param_groups: The groups of both.
        state: Of every parameter: "momentum_buffer", or AdamW's "step", "exp_avg" and "exp_avg_sq".
        defaults: Options of AdamW.

    Raises:
        ConfigError: If no group is `hidden`.
    """

    def __init__(
        self, groups: Iterable[dict[str, object]], optim: OptimSettings, precision: TrainingPrecision = "fp32"
    ) -> None:
        groups = list(groups)
        hidden = [group for group in groups if group.get("hidden")]
        if not hidden:
            raise ConfigError(
                "optim.name is muon, and no weight matrix of an encoder layer learns here, so there is nothing for it; "
                "set optim.name to adamw"
            )
        muon = Muon(hidden, optim.peak, precision)
        others = adamw([group for group in groups if not group.get("hidden")], optim)
        muon.state = others.state
        self._both = (muon, others)
        self.state, self.defaults = others.state, others.defaults
        self.param_groups: list[dict[str, Any]] = list(chain(muon.param_groups, others.param_groups))

    def step(self) -> None:
        """Update all parameters from their gradients."""
        for optimiser in self._both:
            optimiser.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or fill them with zeros."""
        for optimiser in self._both:
            optimiser.zero_grad(set_to_none)


def adamw(groups: Iterable[dict[str, object]], optim: OptimSettings) -> torch.optim.AdamW:
    """Return AdamW over parameter groups."""
    return torch.optim.AdamW(groups, lr=optim.peak, betas=optim.betas, eps=optim.eps, fused=True)
