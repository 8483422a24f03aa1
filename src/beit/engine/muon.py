"""Muon for the weight matrices of an encoder's hidden layers, AdamW for everything else: one optimiser of two."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from beit.errors import ConfigError
from beit.settings.groups import OptimSettings, RunSettings

_HIDDEN_WEIGHT = re.compile(r"(^|\.)encoder\.layer\.\d+\.(.+\.)?weight$")
_MOMENTUM = 0.95  # as published


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Return whether a parameter is a weight matrix of attention or feed-forward network in an encoder layer.

    Queries, keys and values are a matrix each. Bias tables, and the thin matrices of a low-rank adaptation, are none.

    Args:
        name: Of the parameter, such as "beit.encoder.layer.0.output.dense.weight".
        parameter: Of any shape.
    """
    return parameter.dim() == 2 and _HIDDEN_WEIGHT.search(name) is not None


def check_muon(optim: OptimSettings, run: RunSettings) -> None:
    """Refuse Muon where it is not computed: in JAX, and in a torch that has none.

    Raises:
        ConfigError: Naming the settings, or the version.
    """
    if optim.name != "muon":
        return
    if run.framework == "jax":
        raise ConfigError(
            "optim.name is muon and run.framework is jax, which computes AdamW only; set optim.name to adamw, or "
            "run.framework to torch"
        )
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(
            f"optim.name is muon, which torch {torch.__version__} does not have; install torch 2.9 or newer, or set "
            "optim.name to adamw"
        )


class MuonAdamW:
    """Muon over the groups of hidden matrices, AdamW over the others; used like an optimiser of torch.

    An update of Muon is the momentum of a matrix, orthogonalised by five Newton-Schulz iterations in bfloat16 and
    scaled by 0.2 sqrt(max(rows, columns)). That gives it the root mean square of AdamW's updates, so that both take the
    same learning rate and weight decay. Of parameters that are divided over processes (FSDP2), the products of the
    iterations are too; their sums round in another order, so that weights agree to bfloat16's precision.

    Args:
        groups: Parameter groups; those that are `hidden` hold matrices only.
        optim: Learning rate, and the options of AdamW.

    Attributes:
        param_groups: The groups of both.
        state: Of every parameter: "momentum_buffer", or AdamW's "step", "exp_avg" and "exp_avg_sq".
        defaults: Options of AdamW.

    Raises:
        ConfigError: If no group is `hidden`.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the scale is that of arXiv
    2502.16982, section 2.2.
    """

    def __init__(self, groups: Iterable[dict[str, object]], optim: OptimSettings) -> None:
        groups = list(groups)
        hidden = [group for group in groups if group.get("hidden")]
        if not hidden:
            raise ConfigError(
                "optim.name is muon, and no weight matrix of an encoder layer learns here, so there is nothing for it; "
                "set optim.name to adamw"
            )
        muon = torch.optim.Muon(hidden, lr=optim.peak, momentum=_MOMENTUM, adjust_lr_fn="match_rms_adamw")
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
