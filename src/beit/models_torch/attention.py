"""Self-attention with relative position bias.

Legend: B batch, S = 1 + N tokens, D hidden, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from beit.geometry import Grid
from beit.models_torch import kernels
from beit.models_torch.layers import Output
from beit.models_torch.relative_position import Positions, RelativePositionBias


class SelfAttention(nn.Module):
    """Attention without its output projection; queries and values have a bias, keys have none."""

    def __init__(self, dim: int, heads: int, grid: Grid | None = None, dropout: float = 0.0) -> None:
        """Build the projections; a `grid` gives this layer its own relative position bias."""
        super().__init__()
        self.heads = heads
        self.query = _projection(dim, bias=True)
        self.key = _projection(dim, bias=False)
        self.value = _projection(dim, bias=True)
        self.dropout = nn.Dropout(dropout)
        self.relative_position_bias = RelativePositionBias(heads, grid) if grid is not None else None

    def forward(
        self,
        tokens_BSD: Tensor,
        positions: Positions | None = None,
        shared_bias_1HSS: Tensor | None = None,
        head_mask_H: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context (B, S, D), and the attention maps (B, H, S, S) if asked for."""
        own_bias_1HSS = self.relative_position_bias(positions) if self.relative_position_bias is not None else None
        # one after the other, which is as fast as one product of all three
        return kernels.attention(
            kernels.linear(self.query, tokens_BSD),
            kernels.linear(self.key, tokens_BSD),
            kernels.linear(self.value, tokens_BSD),
            self.heads,
            sum_present(own_bias_1HSS, shared_bias_1HSS),
            head_mask_H,
            self.dropout.p if self.dropout.training else 0.0,
            output_attentions,
        )


class Attention(nn.Module):
    """Multi-head self-attention with its output projection."""

    def __init__(
        self, dim: int, heads: int, grid: Grid | None = None, dropout: float = 0.0, out_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads, grid, dropout)
        self.output = Output(dim, dim, out_dropout)

    def forward(
        self,
        tokens_BSD: Tensor,
        positions: Positions | None = None,
        shared_bias_1HSS: Tensor | None = None,
        head_mask_H: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the branch (B, S, D), and the attention maps (B, H, S, S) if asked for.

        Args:
            tokens_BSD: Normalised tokens.
            positions: Where they lie; needed if the layer has its own relative position bias.
            shared_bias_1HSS: A bias that all layers share, added to this layer's own.
            head_mask_H: 1 keeps a head, 0 silences it.
            output_attentions: Whether to return the maps, which costs the fused kernel.
        """
        context_BSD, maps_BHSS = self.attention(tokens_BSD, positions, shared_bias_1HSS, head_mask_H, output_attentions)
        return self.output(context_BSD), maps_BHSS


def _projection(dim: int, bias: bool) -> nn.Linear:
    """Return a linear layer; the bias starts at 0, so that it takes no random numbers."""
    layer = nn.Linear(dim, dim, bias=False)
    if bias:
        layer.bias = nn.Parameter(torch.zeros(dim))
    return layer


def sum_present(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the sum of two biases, either of which may not be there."""
    if first is None or second is None:
        return first if second is None else second
    return first + second
