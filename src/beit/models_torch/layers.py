"""Small layers shared by all models: activation, drop path, layer scale, feed-forward network.

Legend: B batch, S = 1 + N tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.models_torch.eager import eager_float32
from beit.models_torch.lean import gelu_linear
from beit.models_torch.linear import Linear, gelu_of_linear

Activation = Callable[[Tensor], Tensor]


def _gelu_new(x: Tensor) -> Tensor:
    """GELU by its tanh approximation, known as "gelu_new"."""
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Activation] = {
    "gelu": functional.gelu,
    "relu": functional.relu,
    "selu": functional.selu,
    "gelu_new": _gelu_new,
}


def activation(name: str | Activation) -> Activation:
    """Return the activation of this name, or the callable itself."""
    return ACTIVATIONS[name] if isinstance(name, str) else name


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

    def forward(self, branch_BSD: Tensor) -> Tensor:
        """Return the branch, zero for dropped samples; unchanged in evaluation."""
        if self.rate == 0.0 or not self.training:
            return branch_BSD
        keep = 1.0 - self.rate
        place, count, together = self.rows
        samples = branch_BSD.shape[0]
        deals = -(-samples // together)
        drawn = torch.empty((deals, count, together), dtype=branch_BSD.dtype, device=branch_BSD.device)
        own_B = drawn.bernoulli_(keep).div_(max(keep, 1e-12))[:, place].flatten()[:samples]
        return branch_BSD * own_B[:, None, None]

    def extra_repr(self) -> str:
        """Show the rate when the module is printed."""
        return f"rate={self.rate:.3f}"


class LayerScale(nn.Module):
    """Multiply each channel by a learned factor (arXiv 2103.17239; BEiT starts at 0.1 or 1e-5)."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(initial)))

    def forward(self, branch_BSD: Tensor) -> Tensor:
        """Return the scaled branch (B, S, D)."""
        return branch_BSD * self.gamma


class FeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, dim: int, hidden: int, act: str | Activation = "gelu", dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = Linear(dim, hidden)
        self.contract = Linear(hidden, dim)
        self.act = activation(act)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_BSD: Tensor) -> Tensor:
        """Return the branch (B, S, D)."""
        expand, contract = self.expand, self.contract
        if self.act is functional.gelu and _is_plain(expand) and _learns_nothing():
            return self.dropout(contract(gelu_of_linear(tokens_BSD, expand.weight, expand.bias)))
        hidden_BSE = expand(tokens_BSD)
        if self.act is functional.gelu and _is_plain(contract) and eager_float32(hidden_BSE, contract.weight):
            return self.dropout(gelu_linear(hidden_BSE, contract.weight, contract.bias))
        return self.dropout(contract(self.act(hidden_BSE)))


def _is_plain(layer: nn.Module) -> bool:
    """Tell whether a layer is what it was built as: no adapter in its place, no hook that waits for its input."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]
    return type(layer) is Linear and not hooked


def _learns_nothing() -> bool:
    """Tell whether no gradient is wanted; a trace is the same with and without."""
    if torch.is_grad_enabled():
        return False
    return torch.compiler.is_compiling() or not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


class ClassificationHead(Linear):
    """One linear layer on the pooled features; a type of its own, because it starts near zero."""
