"""Self-attention: softmax(q k' / sqrt(d) + bias) v, in ways that give the same numbers.

| way        | keeps for the backward pass | where it is taken                                                     |
|------------|-----------------------------|-----------------------------------------------------------------------|
| explicit   | scores and maps             | maps or a head mask are asked for, dropout is hooked, forward mode,   |
|            |                             | and a bias under transforms of functions (`torch.func`)               |
| fused      | the context                 | no gradient is wanted, or PyTorch's own is the fastest                |
| table      | the context                 | on a GPU, of many tokens, where it is faster than a bias of all pairs |
| recomputed | the context                 | on a CPU where it is the fastest, or the bias needs a gradient        |
| kept       | the maps                    | on a CPU where it is the fastest and the maps are few, or no larger   |
|            |                             | than queries and keys                                                 |

Legend: B batch, b pictures at a time, S = 1 + N tokens, D hidden, H heads, d = D / H. The last two ways compute one
head at a time (BSd): its columns of queries, keys and values are multiplied where they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from beit.geometry import Grid
from beit.models_torch.kernels.choice import eager, hides_gradients, in_forward_mode, plain_gradients
from beit.models_torch.kernels.fastest import FASTEST, Ways
from beit.models_torch.kernels.table_attention import TableBias, table_attention

_SCORES_AT_ONCE = 2**18  # a thread: 1 MB of float32, which stays in a processor's cache between the passes over it
_FEW_SCORES = 2**18  # of a layer: 1 MB, which no training misses
_TIMED_SCORES = 2**20  # of so many pictures a way is timed, in milliseconds


def attention(
    query_BSD: Tensor,
    key_BSD: Tensor,
    value_BSD: Tensor,
    heads: int,
    bias_1HSS: Tensor | TableBias | None = None,
    head_mask_H: Tensor | None = None,
    dropout: float = 0.0,
    output_attentions: bool = False,
    on_maps: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the context (B, S, D), and the attention maps (B, H, S, S) if asked for.

    Args:
        query_BSD: Queries.
        key_BSD: Keys.
        value_BSD: Values.
        heads: Number of heads H.
        bias_1HSS: Added to the scores; as a table where `reads_table` says so, and neither maps nor a head mask nor
            dropout are asked for.
        head_mask_H: 1 keeps a head, 0 silences it.
        dropout: Share of the maps that is dropped.
        output_attentions: Whether to return the maps, which costs the fused kernel.
        on_maps: Called with the maps in the place of dropout, as a dropout layer that is hooked or replaced has it.
    """
    if isinstance(bias_1HSS, TableBias):
        return table_attention(query_BSD, key_BSD, value_BSD, heads, bias_1HSS), None
    if bias_1HSS is not None:  # keys side by side, also in what a caller brings: no kernel of a GPU takes another order
        bias_1HSS = bias_1HSS.to(query_BSD.dtype).contiguous()
    unfused = in_forward_mode() or (bias_1HSS is not None and hides_gradients())
    if output_attentions or head_mask_H is not None or on_maps is not None or unfused:
        drop = on_maps or partial(functional.dropout, p=dropout)
        query_BHSd, key_BHSd, value_BHSd = (_by_head(part, heads) for part in (query_BSD, key_BSD, value_BSD))
        context_BHSd, maps_BHSS = _explicit(query_BHSd, key_BHSd, value_BHSd, bias_1HSS, head_mask_H, drop)
        return _joined(context_BHSd), maps_BHSS if output_attentions else None
    if dropout == 0 and _trains_on_cpu(query_BSD, key_BSD, value_BSD, bias_1HSS):
        return _fastest(query_BSD, heads, bias_1HSS)(query_BSD, key_BSD, value_BSD, bias_1HSS, heads), None
    return _fused(query_BSD, key_BSD, value_BSD, bias_1HSS, heads, dropout), None


def pair_bias(table_RH: Tensor, index_SS: Tensor, grid: Grid) -> Tensor:
    """Return the bias of every pair of tokens, (1, H, S, S), looked up from a table of offsets.

    Args:
        table_RH: A bias per head for every offset (rows of `geometry.relative_position_index`).
        index_SS: The row of every pair.
        grid: The patches that the rows are of.
    """
    learned = torch.is_grad_enabled() and table_RH.requires_grad
    if learned and table_RH.device.type == "cpu" and eager(table_RH, index_SS):
        result: Any = _LookUp.apply(table_RH, index_SS, grid)
        return result
    return _look_up(table_RH, index_SS)


def _by_head(part_BSD: Tensor, heads: int) -> Tensor:
    """Return queries, keys or values (B, H, S, d) in the memory of (B, S, D)."""
    B, S, D = part_BSD.shape
    return part_BSD.view(B, S, heads, D // heads).transpose(1, 2)


def _joined(context_BHSd: Tensor) -> Tensor:
    """Return the context of all heads (B, S, D)."""
    return context_BHSd.transpose(1, 2).flatten(2)


def _trains_on_cpu(*inputs: Tensor | None) -> bool:
    """Return whether a gradient is wanted where PyTorch's fused kernel has a slow one, or none for the bias."""
    present = [part for part in inputs if part is not None]
    return (
        torch.is_grad_enabled()
        and eager(*present)
        and any(part.requires_grad for part in present)
        and present[0].device.type == "cpu"
        and present[0].dtype in (torch.float32, torch.bfloat16)
    )


def _explicit(
    query_BHSd: Tensor,
    key_BHSd: Tensor,
    value_BHSd: Tensor,
    bias_1HSS: Tensor | None,
    head_mask_H: Tensor | None = None,
    drop: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the context, and the maps after dropout and head mask, by the formula of the paper."""
    scores_BHSS = query_BHSd @ key_BHSd.transpose(-1, -2) * query_BHSd.shape[-1] ** -0.5
    if bias_1HSS is not None:
        scores_BHSS = scores_BHSS + bias_1HSS
    maps_BHSS = scores_BHSS.softmax(dim=-1)
    if drop is not None:
        maps_BHSS = drop(maps_BHSS)
    if head_mask_H is not None:
        maps_BHSS = maps_BHSS * head_mask_H.view(1, -1, 1, 1)
    return maps_BHSS @ value_BHSd, maps_BHSS


def _by_formula(query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, bias_1HSS: Tensor | None, heads: int) -> Tensor:
    """Return the context (B, S, D) in operations that have gradients of any order."""
    query_BHSd, key_BHSd, value_BHSd = (_by_head(part, heads) for part in (query_BSD, key_BSD, value_BSD))
    return _joined(_explicit(query_BHSd, key_BHSd, value_BHSd, bias_1HSS)[0])


def _fused(
    query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, bias_1HSS: Tensor | None, heads: int, dropout: float = 0.0
) -> Tensor:
    """Return the context (B, S, D) by one fused kernel, which keeps neither scores nor maps."""
    parts_BHSd = (_by_head(part, heads) for part in (query_BSD, key_BSD, value_BSD))
    context_BHSd = functional.scaled_dot_product_attention(*parts_BHSd, attn_mask=bias_1HSS, dropout_p=dropout)
    if torch.is_grad_enabled() and torch.compiler.is_exporting():
        # A program that is traced with gradients has this kernel replaced later by operations that leave their result
        # in another order in memory, as for ONNX; a copy has the same order then.
        context_BHSd = context_BHSd.transpose(1, 2).clone(memory_format=torch.contiguous_format).transpose(1, 2)
    return _joined(context_BHSd)


def recomputed_attention(
    query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, bias_1HSS: Tensor | None, heads: int
) -> Tensor:
    """Return the context (B, S, D) by the fused kernel, with a backward pass that computes the maps again.

    It has the gradient of the bias, for which autograd would fall back to a kernel that keeps all scores: a large part
    of the memory of a training step, and time to write and read it.
    """
    result: Any = _ByHead.apply(query_BSD, key_BSD, value_BSD, bias_1HSS, heads, False)
    return result


def kept_attention(
    query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, bias_1HSS: Tensor | None, heads: int
) -> Tensor:
    """Return the context (B, S, D), and keep the attention maps for the backward pass."""
    result: Any = _ByHead.apply(query_BSD, key_BSD, value_BSD, bias_1HSS, heads, True)
    return result


def _fastest(query_BSD: Tensor, heads: int, bias_1HSS: Tensor | None) -> Any:
    """Return the way that is fastest, forward and backward, for such a batch (to a power of two)."""
    B, S, D = query_BSD.shape
    of_bias = bias_1HSS is not None and bias_1HSS.requires_grad
    # with the gradient of the bias PyTorch keeps scores and maps, like the third way
    fits = S * heads <= 2 * D or B * heads * S * S <= _FEW_SCORES
    ways: Ways = (
        {"recomputed": recomputed_attention} if of_bias else {"torch": _fused, "recomputed": recomputed_attention}
    )
    if fits:
        ways = {**ways, "torch": _fused, "kept": kept_attention}
    pictures = min(1 << (B - 1).bit_length(), _TIMED_SCORES // (heads * S * S))
    if len(ways) == 1 or pictures == 0:
        return next(iter(ways.values()))
    bias = "" if bias_1HSS is None else ", its bias learned" if of_bias else ", with a bias"
    name = f"attention {pictures} x {heads} x {S} x {D // heads} {str(query_BSD.dtype)[6:]}{bias}"

    def operands() -> list[Any]:
        shapes = [(pictures, S, D)] * 3 + ([] if bias_1HSS is None else [(1, heads, S, S)])
        parts = [torch.full(shape, 0.01, dtype=query_BSD.dtype, requires_grad=len(shape) == 3) for shape in shapes]
        bias = None if bias_1HSS is None else parts.pop().requires_grad_(of_bias)
        return [*parts, bias, heads]

    timed = {way: partial(_with_gradients, compute) for way, compute in ways.items()}
    return ways[FASTEST.way(name, timed, operands)]


def _with_gradients(compute: Any, *operands: Any) -> None:
    with torch.enable_grad():
        context_BSD = compute(*operands)
        wanted = [part for part in operands if isinstance(part, Tensor) and part.requires_grad]
        torch.autograd.grad(context_BSD, wanted, torch.ones_like(context_BSD))


class _ByHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query_BSD: Tensor,
        key_BSD: Tensor,
        value_BSD: Tensor,
        bias_1HSS: Tensor | None,
        heads: int,
        keeps_maps: bool,
    ) -> Tensor:
        ctx.heads, maps = heads, list[Tensor]()
        if keeps_maps:
            context_BSD = torch.empty_like(query_BSD)
            of_heads = (part.chunk(heads, dim=2) for part in (query_BSD, key_BSD, value_BSD, context_BSD))
            for head, (query, key, value, context) in enumerate(zip(*of_heads, strict=True)):
                maps.append(_maps(query, key, None if bias_1HSS is None else bias_1HSS[0, head]))
                context.copy_(maps[-1] @ value)
        else:
            constant = None if bias_1HSS is None else bias_1HSS.detach()  # else the kernel is passed over
            context_BSD = _fused(query_BSD, key_BSD, value_BSD, constant, heads)
        ctx.save_for_backward(query_BSD, key_BSD, value_BSD, bias_1HSS, context_BSD, *maps)
        return context_BSD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Take one head and so many pictures at a time that their scores stay in the cache."""
        query_BSD, key_BSD, value_BSD, bias_1HSS, context_BSD, *maps = ctx.saved_tensors
        heads, tokens = ctx.heads, query_BSD.shape[1]
        if torch.is_grad_enabled():
            inputs = (query_BSD, key_BSD, value_BSD, bias_1HSS)
            plain = partial(_by_formula, heads=heads)  # the fused one has no gradient of its gradient
            return *plain_gradients(plain, inputs, ctx.needs_input_grad[:4], gradients[0]), None, None
        grads = [torch.empty_like(part) for part in (query_BSD, key_BSD, value_BSD)]
        grad_bias_1HSS = torch.zeros_like(bias_1HSS) if bias_1HSS is not None and ctx.needs_input_grad[3] else None
        whole = (query_BSD, key_BSD, value_BSD, context_BSD, gradients[0], *grads)
        at_once = max(1, _SCORES_AT_ONCE * torch.get_num_threads() // tokens**2)
        for head, of_head in enumerate(zip(*(part.chunk(heads, dim=2) for part in whole), strict=True)):
            bias_SS = None if bias_1HSS is None else bias_1HSS[0, head]
            kept = maps[head].split(at_once) if maps else ()
            for i, (query, key, *some) in enumerate(zip(*(part.split(at_once) for part in of_head), strict=True)):
                grad_bSS = _write_gradients(kept[i] if kept else _maps(query, key, bias_SS), query, key, *some)
                if grad_bias_1HSS is not None:
                    grad_bias_1HSS[0, head] += grad_bSS.sum(0)
        return *grads, grad_bias_1HSS, None, None


def _maps(query_bSd: Tensor, key_bSd: Tensor, bias_SS: Tensor | None) -> Tensor:
    """Return the attention maps (b, S, S) of one head."""
    scale = query_bSd.shape[-1] ** -0.5
    if bias_SS is None:
        return torch.baddbmm(query_bSd.new_zeros(1, 1, 1), query_bSd, key_bSd.mT, beta=0, alpha=scale).softmax(-1)
    return torch.baddbmm(bias_SS, query_bSd, key_bSd.mT, alpha=scale).softmax(-1)


def _write_gradients(
    maps_bSS: Tensor,
    query_bSd: Tensor,
    key_bSd: Tensor,
    value_bSd: Tensor,
    context_bSd: Tensor,
    grad_bSd: Tensor,
    grad_query: Tensor,
    grad_key: Tensor,
    grad_value: Tensor,
) -> Tensor:
    """Write the gradients of a head's queries, keys and values in some pictures, and return that of the scores."""
    scale = query_bSd.shape[-1] ** -0.5
    grad_value.copy_(maps_bSS.mT @ grad_bSd)
    # the softmax: gradient of a score = map * (gradient of the map - mean of these, weighted by the maps)
    mean_bS1 = (grad_bSd * context_bSd).sum(-1, keepdim=True)
    grad_bSS = torch.baddbmm(mean_bS1, grad_bSd, value_bSd.mT, beta=-1).mul_(maps_bSS)
    torch.mul(grad_bSS @ key_bSd, scale, out=grad_query)
    torch.mul(grad_bSS.mT @ query_bSd, scale, out=grad_key)
    return grad_bSS


def _look_up(table_RH: Tensor, index_SS: Tensor) -> Tensor:
    # an embedding look-up, because its backward adds up in a fixed order on every device; indexing does not
    bias_SSH = functional.embedding(index_SS, table_RH)
    # keys side by side: a GPU has no fused kernel for another order, and that of a CPU takes up to twice as long
    return bias_SSH.permute(2, 0, 1).contiguous().unsqueeze(0)


class _LookUp(torch.autograd.Function):
    """Autograd adds up the gradient of a table pair by pair, which of many tokens takes 3 to 20 times as long."""

    @staticmethod
    def forward(ctx: Any, table_RH: Tensor, index_SS: Tensor, grid: Grid) -> Tensor:
        ctx.grid = grid
        ctx.save_for_backward(table_RH, index_SS)
        return _look_up(table_RH, index_SS)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        table_RH, index_SS = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *plain_gradients(_look_up, (table_RH, index_SS), (True, False), gradients[0]), None
        return _sums_of_offsets(gradients[0][0], ctx.grid).to(table_RH.dtype), None, None


def _sums_of_offsets(grad_HSS: Tensor, grid: Grid) -> Tensor:
    """Return the sums over all pairs of tokens of the same offset, (R, H), in the order of the table's rows.

    Legend: y rows and x columns of queries, v rows and u columns of keys, of h x w patches; Y, X offsets.
    """
    (h, w), heads = grid, len(grad_HSS)
    kind = torch.promote_types(grad_HSS.dtype, torch.float32)
    grad_Hyxvu = grad_HSS[:, 1:, 1:].unflatten(1, grid).unflatten(3, grid)
    sums_HYxu = grad_HSS.new_zeros(heads, 2 * h - 1, w, w, dtype=kind)
    for y in range(h):  # keys of the last row come first: their offset is the least
        sums_HYxu[:, y : y + h] += grad_Hyxvu[:, y].transpose(1, 2).flip(1)
    # along rows by one sum: in rows that are one number longer than those they are read in, each lies one further right
    slanted_HYxu = sums_HYxu.new_zeros(heads, 2 * h - 1, w, 2 * w)
    slanted_HYxu[..., :w] = sums_HYxu.flip(3)
    sums_HYX = slanted_HYxu.flatten(2)[..., : w * (2 * w - 1)].unflatten(2, (w, 2 * w - 1)).sum(2)
    with_cls = (grad_HSS[:, :1, 1:], grad_HSS[:, 1:, :1], grad_HSS[:, :1, :1])  # [CLS] to patches, they to it, itself
    sums_H3 = torch.stack([pairs_Hab.sum((1, 2), dtype=kind) for pairs_Hab in with_cls], dim=1)
    return torch.cat((sums_HYX.flatten(1), sums_H3), dim=1).T
