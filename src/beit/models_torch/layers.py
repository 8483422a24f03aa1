"""Small layers shared by all models: activations, drop path, feed-forward network.

Legend: B batch, S = 1 + N tokens, D hidden, E hidden of the feed-forward network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from beit.models_torch import kernels

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "gelu_new": partial(nn.GELU, approximate="tanh"),
}


def activation(name: str | Activation) -> Activation:
    """Return the activation of this name, or the callable itself."""
    return ACTIVATIONS[name]() if isinstance(name, str) else name


class DropPath(nn.Module):
    """Drop a residual branch for whole samples, and scale the kept ones up (stochastic depth, arXiv 1603.09382).

    Attributes:
        rate: Share of the samples that lose the branch.
        rows: (place, count, together): samples are dealt to `count` processes in turn, `together` at a time, this one
            being at `place`. It draws for all of them, so that equal seeds drop the same over any number of processes.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.rows: tuple[int, int, int] = (0, 1, 1)

    @property
    def rate(self) -> float:
        """Share of the samples that lose the branch."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate, self._drops = rate, rate > 0
        # A number would be a constant of a compiled layer, and every layer a program of its own; a tensor is an input
        # of one program for all. It is no buffer, which processes would send each other.
        self._keep = torch.tensor(1.0 - rate, device="cpu")

    @property
    def drop_prob(self) -> float:
        """The published name of the rate."""
        return self.rate

    @drop_prob.setter
    def drop_prob(self, rate: float) -> None:
        self.rate = rate

    def forward(self, branch_BSD: Tensor) -> Tensor:
        """Return the branch, zero for dropped samples; unchanged in evaluation."""
        factor_B11 = self.factors(branch_BSD, branch_BSD.dtype)
        return branch_BSD if factor_B11 is None else branch_BSD * factor_B11

    def factors(self, branch_BSD: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Draw the factor of each sample, zero for dropped ones, or return None where nothing is dropped."""
        if not self._drops or not self.training:
            return None
        place, count, together = self.rows
        samples = branch_BSD.shape[0]
        drawn = torch.empty((-(-samples // together), count, together), dtype=dtype, device=branch_BSD.device)
        if torch.compiler.is_compiling():
            factors = torch.rand_like(drawn, dtype=torch.float32).lt(self._keep) / self._keep.clamp(min=1e-12)
            factors = factors.to(dtype)
        else:
            keep = 1.0 - self._rate
            factors = torch.bernoulli(drawn, keep).div_(max(keep, 1e-12))  # which `torch.func.vmap` can draw per sample
        return factors[:, place].flatten()[:samples, None, None]

    def extra_repr(self) -> str:
        """Show the rate when the module is printed."""
        return f"rate={self.rate:.3f}"


def with_branch(tokens_BSD: Tensor, branch_BSD: Tensor, factor_D: Tensor | None, drop_path: nn.Module) -> Tensor:
    """Add a residual branch, of which samples may be dropped.

    Args:
        tokens_BSD: The residual stream.
        branch_BSD: Output of attention or of the feed-forward network.
        factor_D: Learned factor of each channel, if there is one (layer scale, arXiv 2103.17239).
        drop_path: Drops the branch of some samples.
    """
    if factor_D is None:
        return tokens_BSD + drop_path(branch_BSD)
    if not kernels.is_plain(drop_path, DropPath):
        return tokens_BSD + drop_path(branch_BSD * factor_D)
    dropped_B11 = drop_path.factors(branch_BSD, factor_D.dtype)
    factor = factor_D if dropped_B11 is None else factor_D * dropped_B11
    return kernels.add_scaled(tokens_BSD, branch_BSD, factor)


class Intermediate(nn.Module):
    """The first linear layer of the feed-forward network, and its activation."""

    def __init__(self, dim: int, hidden: int, act: str | Activation = "gelu") -> None:
        super().__init__()
        self.dense = nn.Linear(dim, hidden)
        self.intermediate_act_fn = activation(act)

    @property
    def has_plain_gelu(self) -> bool:
        """True if the activation is GELU by the error function, and a kernel may compute it."""
        act = self.intermediate_act_fn
        return isinstance(act, nn.Module) and kernels.is_plain(act, nn.GELU) and act.approximate == "none"

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return (B, S, E) for tokens (B, S, D)."""
        if self.has_plain_gelu:
            return kernels.linear_gelu(self.dense, hidden_states)
        return self.intermediate_act_fn(kernels.linear(self.dense, hidden_states))


class Output(nn.Module):
    """The last linear layer of a residual branch, and dropout."""

    def __init__(self, hidden: int, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor | None = None, gamma: Any = None) -> Tensor:
        """Return the branch (B, S, D) for (B, S, E); the other arguments are published, and used nowhere."""
        return self.dropout(kernels.linear(self.dense, hidden_states))


def feed_forward(intermediate: nn.Module, output: nn.Module, tokens_BSD: Tensor) -> Tensor:
    """Return output(intermediate(tokens)), (B, S, D): two linear layers with an activation between them."""
    if (
        kernels.is_plain(intermediate, Intermediate)
        and kernels.is_plain(output, Output)
        and intermediate.has_plain_gelu
        and kernels.recomputes_gelu(output.dense, tokens_BSD)
    ):  # GELU goes with the second layer, so that the activations are not kept before and after it
        hidden_BSE = kernels.linear(intermediate.dense, tokens_BSD)
        return output.dropout(kernels.gelu_linear(output.dense, hidden_BSE))
    return output(intermediate(tokens_BSD))
