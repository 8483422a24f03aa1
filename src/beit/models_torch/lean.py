"""Training passes that keep less for the backward pass than autograd would, with the same gradients.

Autograd keeps the activations of every feed-forward network twice, before and after GELU, and attention with a learned
bias falls back to a kernel that keeps all scores. Together that is half the memory of a training step, and time to
write and read it. These passes keep what goes in and compute the rest again, picture by picture.

Legend: B batch, b pictures at a time, S = 1 + N tokens, T = B * S, D hidden, E hidden of the feed-forward network,
H heads, d = D / H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from beit.models_torch.linear import linear, weight_slope

_SCORES_AT_ONCE = 2**20  # 4 MB of float32: what stays in a processor's cache between the passes over it


def gelu_linear(hidden_BSE: Tensor, weight_DE: Tensor, bias_D: Tensor) -> Tensor:
    """Return linear(gelu(hidden)), keeping `hidden` alone."""
    result: Any = _GeluLinear.apply(hidden_BSE, weight_DE, bias_D)
    return result


def biased_attention(qkv_BS3Hd: Tensor, bias_1HSS: Tensor) -> Tensor:
    """Return attention (B, S, H, d) with an additive bias that has a gradient, keeping queries, keys and values alone.

    The forward pass is the fused kernel, which knows no gradient of its bias.
    """
    result: Any = _BiasedAttention.apply(qkv_BS3Hd, bias_1HSS)
    return result


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_BSE: Tensor, weight_DE: Tensor, bias_D: Tensor) -> Tensor:
        ctx.save_for_backward(hidden_BSE, weight_DE, bias_D)
        return linear(functional.gelu(hidden_BSE), weight_DE, bias_D)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():  # somebody wants gradients of the gradients
            return _differentiate(_plain_gelu_linear, ctx, gradients[0])
        hidden_BSE, weight_DE, _ = ctx.saved_tensors
        slope_TD = gradients[0].flatten(0, -2)
        with torch.no_grad():
            slope_BSE = linear(gradients[0], weight_DE.T)
        torch.ops.aten.gelu_backward.grad_input(slope_BSE, hidden_BSE, grad_input=slope_BSE)
        slope_DE = weight_slope(slope_TD, functional.gelu(hidden_BSE).flatten(0, -2))
        return slope_BSE, slope_DE, slope_TD.sum(0)


class _BiasedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv_BS3Hd: Tensor, bias_1HSS: Tensor) -> Tensor:
        context_BSHd = _plain_attention(qkv_BS3Hd, bias_1HSS.detach())  # else the fused kernel is passed over
        ctx.save_for_backward(qkv_BS3Hd, bias_1HSS, context_BSHd)
        return context_BSHd

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Differentiate softmax(q k' / sqrt(d) + bias) v, for so many pictures at a time that scores stay in cache."""
        if torch.is_grad_enabled():
            return _differentiate(_plain_attention, ctx, gradients[0])
        qkv_BS3Hd, bias_1HSS, context_BSHd = ctx.saved_tensors
        slope_qkv, slope_bias = torch.empty_like(qkv_BS3Hd), torch.zeros_like(bias_1HSS)
        at_once = max(1, _SCORES_AT_ONCE // bias_1HSS.numel())
        parts = (tensor.split(at_once) for tensor in (qkv_BS3Hd, context_BSHd, gradients[0], slope_qkv))
        for part, context, slope, slope_part in zip(*parts, strict=True):
            slope_bias += _attention_slopes(part, bias_1HSS, context, slope, slope_part)
        return slope_qkv, slope_bias


def _attention_slopes(
    qkv_bS3Hd: Tensor, bias_1HSS: Tensor, context_bSHd: Tensor, slope_bSHd: Tensor, slope_qkv: Tensor
) -> Tensor:
    """Write the gradient of queries, keys and values of some pictures, and return that of the bias."""
    query_bHSd, key_bHSd, value_bHSd = qkv_bS3Hd.permute(2, 0, 3, 1, 4)
    scale = query_bHSd.shape[-1] ** -0.5
    slope_bHSd = slope_bSHd.transpose(1, 2)
    scores_bHSS = (query_bHSd * scale) @ key_bHSd.transpose(-1, -2)
    maps_bHSS = scores_bHSS.add_(bias_1HSS).softmax(-1)
    of_query, of_key, of_value = slope_qkv.permute(2, 0, 3, 1, 4)
    of_value.copy_(maps_bHSS.transpose(-1, -2) @ slope_bHSd)
    # the softmax: slope of a score = map * (slope of the map - mean of these slopes, weighted by the maps)
    mean_bHS1 = (slope_bSHd * context_bSHd).sum(-1).transpose(1, 2).unsqueeze(-1)
    slope_bHSS = (slope_bHSd @ value_bHSd.transpose(-1, -2)).sub_(mean_bHS1).mul_(maps_bHSS)
    of_query.copy_((slope_bHSS @ key_bHSd).mul_(scale))
    of_key.copy_((slope_bHSS.transpose(-1, -2) @ query_bHSd).mul_(scale))
    return slope_bHSS.sum(0, keepdim=True)


def _plain_gelu_linear(hidden_BSE: Tensor, weight_DE: Tensor, bias_D: Tensor) -> Tensor:
    return functional.linear(functional.gelu(hidden_BSE), weight_DE, bias_D)


def _plain_attention(qkv_BS3Hd: Tensor, bias_1HSS: Tensor) -> Tensor:
    query_BHSd, key_BHSd, value_BHSd = qkv_BS3Hd.permute(2, 0, 3, 1, 4)
    context_BHSd = functional.scaled_dot_product_attention(query_BHSd, key_BHSd, value_BHSd, attn_mask=bias_1HSS)
    return context_BHSd.transpose(1, 2)


def _differentiate(plain: Any, ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of a plain formulation, which have gradients themselves."""
    inputs = ctx.saved_tensors[: len(ctx.needs_input_grad)]
    wanted = [tensor for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=True) if needed]
    found = iter(torch.autograd.grad(plain(*inputs), wanted, slope, create_graph=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)
