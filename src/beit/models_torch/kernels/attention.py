"""Self-attention: softmax(q k' / sqrt(d) + bias) v, in three ways that give the same numbers.

Legend: B batch, b pictures at a time, S = 1 + N tokens, D hidden, H heads, d = D / H. In the backward pass written here
one head is computed at a time (BSd): its columns of queries, keys and values are multiplied where they stand.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from beit.models_torch.kernels.choice import eager
from beit.models_torch.kernels.gradients import plain_gradients

_SCORES_AT_ONCE = 2**18  # a thread: 1 MB of float32, which stays in a processor's cache between the passes over it


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
    bias_1HSS = bias_1HSS.to(query_BSD.dtype) if bias_1HSS is not None else None
    if output_attentions or head_mask_H is not None:
        query_BHSd, key_BHSd, value_BHSd = (_by_head(part, heads) for part in (query_BSD, key_BSD, value_BSD))
        context_BHSd, maps_BHSS = _explicit(query_BHSd, key_BHSd, value_BHSd, bias_1HSS, head_mask_H, dropout)
        return _joined(context_BHSd), maps_BHSS if output_attentions else None
    if bias_1HSS is not None and dropout == 0 and _has_no_fused_gradient(query_BSD, bias_1HSS):
        return recomputed_attention(query_BSD, key_BSD, value_BSD, bias_1HSS), None
    return _fused(query_BSD, key_BSD, value_BSD, bias_1HSS, heads, dropout), None


def _by_head(part_BSD: Tensor, heads: int) -> Tensor:
    """Return queries, keys or values (B, H, S, d) in the memory of (B, S, D)."""
    B, S, D = part_BSD.shape
    return part_BSD.view(B, S, heads, D // heads).transpose(1, 2)


def _joined(context_BHSd: Tensor) -> Tensor:
    """Return the context of all heads (B, S, D)."""
    return context_BHSd.transpose(1, 2).flatten(2)


def _has_no_fused_gradient(query_BSD: Tensor, bias_1HSS: Tensor) -> bool:
    """Return whether the fused kernel lacks the gradient of the bias; those of GPUs have it."""
    return (
        bias_1HSS.requires_grad
        and eager(query_BSD, bias_1HSS)
        and query_BSD.device.type == "cpu"
        and query_BSD.dtype in (torch.float32, torch.bfloat16)
    )


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
    query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, bias_1HSS: Tensor | None, heads: int, dropout: float = 0.0
) -> Tensor:
    """Return the context (B, S, D) by one fused kernel, which keeps neither scores nor maps."""
    parts_BHSd = (_by_head(part, heads) for part in (query_BSD, key_BSD, value_BSD))
    return _joined(functional.scaled_dot_product_attention(*parts_BHSd, attn_mask=bias_1HSS, dropout_p=dropout))


def recomputed_attention(query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, bias_1HSS: Tensor) -> Tensor:
    """Return the context (B, S, D) by the fused kernel, with a backward pass that has the gradient of the bias.

    Autograd would fall back to a kernel that keeps all scores: a large part of the memory of a training step, and time
    to write and read it.
    """
    result: Any = _Recomputed.apply(query_BSD, key_BSD, value_BSD, bias_1HSS)
    return result


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, bias_1HSS: Tensor) -> Tensor:
        constant_1HSS = bias_1HSS.detach()  # else the kernel is passed over
        context_BSD = _fused(query_BSD, key_BSD, value_BSD, constant_1HSS, bias_1HSS.shape[1])
        ctx.save_for_backward(query_BSD, key_BSD, value_BSD, bias_1HSS, context_BSD)
        return context_BSD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Take one head and so many pictures at a time that their scores stay in the cache."""
        *inputs, context_BSD = ctx.saved_tensors
        query_BSD, key_BSD, value_BSD, bias_1HSS = inputs
        heads, tokens = bias_1HSS.shape[1:3]
        if torch.is_grad_enabled():
            plain = partial(_fused, heads=heads)
            return plain_gradients(plain, inputs, ctx.needs_input_grad, gradients[0])
        grads = [torch.empty_like(part) for part in (query_BSD, key_BSD, value_BSD)]
        grad_bias_1HSS = torch.zeros_like(bias_1HSS)
        whole = (query_BSD, key_BSD, value_BSD, context_BSD, gradients[0], *grads)
        at_once = max(1, _SCORES_AT_ONCE * torch.get_num_threads() // tokens**2)
        for head, of_head in enumerate(zip(*(part.chunk(heads, dim=2) for part in whole), strict=True)):
            for some in zip(*(part_BSd.split(at_once) for part_BSd in of_head), strict=True):
                grad_bias_1HSS[0, head] += _write_gradients(bias_1HSS[0, head], *some)
        return *grads, grad_bias_1HSS


def _write_gradients(
    bias_SS: Tensor,
    query_bSd: Tensor,
    key_bSd: Tensor,
    value_bSd: Tensor,
    context_bSd: Tensor,
    grad_bSd: Tensor,
    grad_query: Tensor,
    grad_key: Tensor,
    grad_value: Tensor,
) -> Tensor:
    """Write the gradients of a head's queries, keys and values in some pictures, and return that of the bias (S, S)."""
    scale = query_bSd.shape[-1] ** -0.5
    maps_bSS = torch.baddbmm(bias_SS, query_bSd, key_bSd.transpose(1, 2), alpha=scale).softmax(-1)
    grad_value.copy_(maps_bSS.transpose(1, 2) @ grad_bSd)
    # the softmax: gradient of a score = map * (gradient of the map - mean of these, weighted by the maps)
    mean_bS1 = (grad_bSd * context_bSd).sum(-1, keepdim=True)
    grad_bSS = torch.baddbmm(mean_bS1, grad_bSd, value_bSd.transpose(1, 2), beta=-1).mul_(maps_bSS)
    torch.mul(grad_bSS @ key_bSd, scale, out=grad_query)
    torch.mul(grad_bSS.transpose(1, 2) @ query_bSd, scale, out=grad_key)
    return grad_bSS.sum(0)
