"""Self-attention: softmax(q k' / sqrt(d) + bias) v, in three ways that give the same numbers.

Legend: B batch, b pictures at a time, S = 1 + N tokens, D hidden, H heads, d = D / H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from beit.models_torch.kernels.choice import eager_float32
from beit.models_torch.kernels.gradients import plain_gradients

_SCORES_AT_ONCE = 2**20  # 4 MB of float32, which stay in a processor's cache between the passes over them


def attention(
    query_BSD: Tensor,
    key_BSD: Tensor,
    value_BSD: Tensor,
    heads: int,
    bias_1HSS: Tensor | None = None,
    head_mask_H: Tensor | None = None,
    dropout: float = 0.0,
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return the context (B, S, D), and the attention maps (B, H, S, S) if asked for.

    Args:
        query_BSD: Queries.
        key_BSD: Keys.
        value_BSD: Values.
        heads: Number of heads H.
        bias_1HSS: Added to the scores.
        head_mask_H: 1 keeps a head, 0 silences it.
        dropout: Share of the maps that is dropped.
        output_attentions: Whether to return the maps, which costs the fused kernel.
    """
    B, S, D = query_BSD.shape
    query_BHSd, key_BHSd, value_BHSd = (
        part_BSD.view(B, S, heads, D // heads).transpose(1, 2) for part_BSD in (query_BSD, key_BSD, value_BSD)
    )
    bias_1HSS = bias_1HSS.to(query_BSD.dtype) if bias_1HSS is not None else None
    maps_BHSS: Tensor | None = None
    if output_attentions or head_mask_H is not None:
        context_BHSd, maps_BHSS = _explicit(query_BHSd, key_BHSd, value_BHSd, bias_1HSS, head_mask_H, dropout)
    elif bias_1HSS is not None and dropout == 0 and _has_no_fused_gradient(query_BHSd, bias_1HSS):
        context_BHSd = recomputed_attention(query_BHSd, key_BHSd, value_BHSd, bias_1HSS)
    else:
        context_BHSd = _fused(query_BHSd, key_BHSd, value_BHSd, bias_1HSS, dropout)
    return context_BHSd.transpose(1, 2).reshape(B, S, D), maps_BHSS if output_attentions else None


def _has_no_fused_gradient(query_BHSd: Tensor, bias_1HSS: Tensor) -> bool:
    """Return whether the fused kernel lacks the gradient of the bias; those of GPUs have it."""
    return bias_1HSS.requires_grad and query_BHSd.device.type == "cpu" and eager_float32(query_BHSd, bias_1HSS)


def _explicit(
    query_BHSd: Tensor,
    key_BHSd: Tensor,
    value_BHSd: Tensor,
    bias_1HSS: Tensor | None,
    head_mask_H: Tensor | None,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Return the context, and the maps after dropout and head mask, by the formula of the paper."""
    scores_BHSS = query_BHSd @ key_BHSd.transpose(-1, -2) * query_BHSd.shape[-1] ** -0.5
    if bias_1HSS is not None:
        scores_BHSS = scores_BHSS + bias_1HSS
    maps_BHSS = functional.dropout(scores_BHSS.softmax(dim=-1), dropout)
    if head_mask_H is not None:
        maps_BHSS = maps_BHSS * head_mask_H.view(1, -1, 1, 1)
    return maps_BHSS @ value_BHSd, maps_BHSS


def _fused(
    query_BHSd: Tensor, key_BHSd: Tensor, value_BHSd: Tensor, bias_1HSS: Tensor | None, dropout: float = 0.0
) -> Tensor:
    """Return the context by one fused kernel, which keeps neither scores nor maps."""
    return functional.scaled_dot_product_attention(
        query_BHSd, key_BHSd, value_BHSd, attn_mask=bias_1HSS, dropout_p=dropout
    )


def recomputed_attention(query_BHSd: Tensor, key_BHSd: Tensor, value_BHSd: Tensor, bias_1HSS: Tensor) -> Tensor:
    """Return the context by the fused kernel, with a backward pass that has the gradient of the bias.

    Autograd would fall back to a kernel that keeps all scores: a large part of the memory of a training step, and time
    to write and read it.
    """
    result: Any = _Recomputed.apply(query_BHSd, key_BHSd, value_BHSd, bias_1HSS)
    return result


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_BHSd: Tensor, key_BHSd: Tensor, value_BHSd: Tensor, bias_1HSS: Tensor) -> Tensor:
        context_BHSd = _fused(query_BHSd, key_BHSd, value_BHSd, bias_1HSS.detach())  # else the kernel is passed over
        ctx.save_for_backward(query_BHSd, key_BHSd, value_BHSd, bias_1HSS, context_BHSd)
        return context_BHSd

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Take so many pictures at a time that their scores stay in the cache."""
        *inputs, context_BHSd = ctx.saved_tensors
        if torch.is_grad_enabled():
            return plain_gradients(_fused, inputs, ctx.needs_input_grad, gradients[0])
        query_BHSd, key_BHSd, value_BHSd, bias_1HSS = inputs
        grads = [torch.empty_like(part) for part in (query_BHSd, key_BHSd, value_BHSd)]
        grad_bias_1HSS = torch.zeros_like(bias_1HSS)
        at_once = max(1, _SCORES_AT_ONCE // bias_1HSS.numel())
        whole = (query_BHSd, key_BHSd, value_BHSd, context_BHSd, gradients[0], *grads)
        for part in zip(*(tensor.split(at_once) for tensor in whole), strict=True):
            grad_bias_1HSS += _write_gradients(bias_1HSS, *part)
        return *grads, grad_bias_1HSS


def _write_gradients(
    bias_1HSS: Tensor,
    query_bHSd: Tensor,
    key_bHSd: Tensor,
    value_bHSd: Tensor,
    context_bHSd: Tensor,
    grad_bHSd: Tensor,
    grad_query: Tensor,
    grad_key: Tensor,
    grad_value: Tensor,
) -> Tensor:
    """Write the gradients of queries, keys and values of some pictures, and return that of the bias."""
    scale = query_bHSd.shape[-1] ** -0.5
    scores_bHSS = (query_bHSd * scale) @ key_bHSd.transpose(-1, -2)
    maps_bHSS = scores_bHSS.add_(bias_1HSS).softmax(-1)
    grad_value.copy_(maps_bHSS.transpose(-1, -2) @ grad_bHSd)
    # the softmax: gradient of a score = map * (gradient of the map - mean of these, weighted by the maps)
    mean_bHS1 = (grad_bHSd * context_bHSd).sum(-1, keepdim=True)
    grad_bHSS = (grad_bHSd @ value_bHSd.transpose(-1, -2)).sub_(mean_bHS1).mul_(maps_bHSS)
    grad_query.copy_((grad_bHSS @ key_bHSd).mul_(scale))
    grad_key.copy_((grad_bHSS.transpose(-1, -2) @ query_bHSd).mul_(scale))
    return grad_bHSS.sum(0, keepdim=True)
