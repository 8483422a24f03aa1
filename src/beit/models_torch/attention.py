"""Self-attention with relative position bias.

Legend: B batch, S = 1 + N tokens, D hidden, E = 3 D, H heads, d = D / H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.geometry import Grid
from beit.models_torch.eager import eager_float32
from beit.models_torch.lean import biased_attention
from beit.models_torch.linear import Linear, linear
from beit.models_torch.relative_position import Positions, RelativePositionBias


class Attention(nn.Module):
    """Multi-head self-attention; queries and values have a bias, keys have none."""

    def __init__(self, dim: int, heads: int, grid: Grid | None = None, dropout: float = 0.0, out_dropout: float = 0.0):
        """Build the projections; a `grid` gives this layer its own relative position bias."""
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.query_bias = nn.Parameter(torch.zeros(dim))
        self.value_bias = nn.Parameter(torch.zeros(dim))
        self.bias = RelativePositionBias(heads, grid) if grid is not None else None
        self.output = Linear(dim, dim)
        self.out_dropout = nn.Dropout(out_dropout)

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
        B, S, D = tokens_BSD.shape
        qkv_bias = torch.cat((self.query_bias, torch.zeros_like(self.query_bias), self.value_bias))
        qkv_BSE = linear(tokens_BSD, self.qkv.weight, qkv_bias)
        qkv_BS3Hd = qkv_BSE.view(B, S, 3, self.heads, D // self.heads)
        query_BHSd, key_BHSd, value_BHSd = qkv_BS3Hd.permute(2, 0, 3, 1, 4)
        own_bias_1HSS = self.bias(positions) if self.bias is not None else None
        bias_1HSS = sum_present(own_bias_1HSS, shared_bias_1HSS)
        if bias_1HSS is not None:
            bias_1HSS = bias_1HSS.to(qkv_BSE.dtype)
        dropout = self.dropout if self.training else 0.0
        if output_attentions or head_mask_H is not None:
            context_BHSd, maps_BHSS = _plain_attention(
                query_BHSd, key_BHSd, value_BHSd, bias_1HSS, head_mask_H, dropout
            )
        elif bias_1HSS is not None and bias_1HSS.requires_grad and dropout == 0 and _lean(qkv_BS3Hd, bias_1HSS):
            context_BHSd, maps_BHSS = biased_attention(qkv_BS3Hd, bias_1HSS).transpose(1, 2), None
        else:
            context_BHSd = functional.scaled_dot_product_attention(
                query_BHSd, key_BHSd, value_BHSd, attn_mask=bias_1HSS, dropout_p=dropout
            )
            maps_BHSS = None
        context_BSD = context_BHSd.transpose(1, 2).reshape(B, S, D)
        return self.out_dropout(self.output(context_BSD)), maps_BHSS if output_attentions else None


def _lean(qkv_BS3Hd: Tensor, bias_1HSS: Tensor) -> bool:
    """Tell whether to keep no scores: on a CPU, whose fused kernel has no gradient for the bias; those of GPUs do."""
    return qkv_BS3Hd.device.type == "cpu" and eager_float32(qkv_BS3Hd, bias_1HSS)


def sum_present(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the sum of two biases, either of which may not be there."""
    if first is None or second is None:
        return first if second is None else second
    return first + second


def _plain_attention(
    query_BHSd: Tensor,
    key_BHSd: Tensor,
    value_BHSd: Tensor,
    bias_1HSS: Tensor | None,
    head_mask_H: Tensor | None,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Attention as the paper writes it, for when its maps are wanted: (context, maps after dropout and head mask)."""
    scores_BHSS = query_BHSd @ key_BHSd.transpose(-1, -2) * query_BHSd.shape[-1] ** -0.5
    if bias_1HSS is not None:
        scores_BHSS = scores_BHSS + bias_1HSS
    maps_BHSS = functional.dropout(scores_BHSS.softmax(dim=-1), dropout)
    if head_mask_H is not None:
        maps_BHSS = maps_BHSS * head_mask_H.view(1, -1, 1, 1)
    return maps_BHSS @ value_BHSd, maps_BHSS
