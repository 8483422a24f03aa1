"""Self-attention on a GPU whose bias is read from its table while scores are computed.

A bias of all pairs of tokens grows with the fourth power of the picture's side: at 640 pixels that of a layer of a base
model takes 60 MB in bf16, and as much again for its gradient. The table, with a row for every offset between two
patches, grows with the second power. The kernel is PyTorch's FlexAttention (arXiv 2412.05496).

Legend: B batch, S = 1 + N tokens, D hidden, H heads, d = D / H, R rows of the table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from beit.geometry import Grid, num_relative_positions
from beit.models_torch.kernels.choice import eager
from beit.models_torch.kernels.fastest import FASTEST, unobserved

_LEAST_TOKENS = 512  # below, biases are small, and not worth the seconds that the kernel is compiled for
_TIMED_PICTURES = 2
_TO_PATCHES, _TO_CLS, _CLS_ITSELF = -3, -2, -1  # rows of [CLS] at the end of a table
# What FlexAttention is asked for, in this order, until a GPU can do it. It reads some tiles ahead, and does not count
# that one of the bias comes with each: an H200 has 227 KiB of shared memory, and its own choice would need 240.
_TILES: tuple[dict[str, int], ...] = (
    {},
    {"num_stages": 2},
    {"num_stages": 1},
    {"num_stages": 1, "BLOCK_M": 64, "BLOCK_N": 64},
)
_TOO_LARGE = "out of resource"  # as Triton says it


class TableBias(NamedTuple):
    """Bias of a layer as its table (R, H), for tokens on a patch grid."""

    table_RH: Tensor
    grid: Grid


def reads_table(tokens_BSD: Tensor, heads: int, grid: Grid) -> bool:
    """Return whether attention in training shall read its bias from the table: what is faster, as `FASTEST` timed it.

    Never where every run has to have the same bits: gradients of a table are added up in any order.
    """
    if (
        not torch.is_grad_enabled()
        or not eager(tokens_BSD)  # a compiler that has the whole model chooses by itself
        or tokens_BSD.device.type != "cuda"
        or tokens_BSD.shape[1] < _LEAST_TOKENS
        or torch.are_deterministic_algorithms_enabled()
    ):
        return False
    device = tokens_BSD.device
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else tokens_BSD.dtype
    return fastest_reads_table(tuple(tokens_BSD.shape), heads, grid, dtype, device)


def fastest_reads_table(
    shape_BSD: tuple[int, ...], heads: int, grid: Grid, dtype: torch.dtype, device: torch.device
) -> bool:
    """Return whether reading the table is faster, forward and backward; not where it does not work."""
    _, S, D = shape_BSD
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    name = f"bias of attention {heads} x {grid.height} x {grid.width} x {D // heads} {str(dtype)[6:]} on {place}"

    def operands() -> list[Any]:
        shape, rows = (_TIMED_PICTURES, S, D), num_relative_positions(grid)
        parts = [torch.full(shape, 0.01, dtype=dtype, device=device, requires_grad=True) for _ in range(3)]
        return [*parts, heads, TableBias(torch.zeros(rows, heads, device=device, requires_grad=True), grid)]

    ways = {"torch": _time_whole, "table": _time_table}
    return _works(name, operands) and FASTEST.way(name, ways, operands) == "table"


_BROKEN: dict[str, bool] = {}  # whether reading the table fails, by what it was tried with
_FITTING: dict[tuple[torch.dtype, int], int] = {}  # the first tiles that fit, by type and width of a head


def _works(name: str, operands: Callable[[], list[Any]]) -> bool:
    """Return whether the kernel can be compiled and run here, with tiles that fit; tried once."""
    if name not in _BROKEN:
        error = _failure(operands)
        if error is not None:
            logging.getLogger(__name__).warning("%s is not read from its table: %s", name, error.split("\n")[0])
        _BROKEN[name] = error is not None
    return not _BROKEN[name]


def _failure(operands: Callable[[], list[Any]]) -> str | None:
    """Return what the kernel fails with, None if it works; smaller tiles are tried where others are too large."""
    while True:
        query_BSD, _, _, heads, _ = given = operands()
        try:
            with unobserved():
                _time_table(*given)
        except Exception as error:  # of the compiler, of Triton, or of a GPU that it does not know
            kind = query_BSD.dtype, query_BSD.shape[2] // heads
            if _TOO_LARGE not in str(error) or _FITTING.get(kind, 0) + 1 == len(_TILES):
                return str(error)
            _FITTING[kind] = _FITTING.get(kind, 0) + 1
        else:
            return None


def _time_whole(query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, heads: int, bias: TableBias) -> None:
    with torch.enable_grad():
        bias_HSS = whole_bias(bias).to(query_BSD.dtype)
        parts = (_by_head(part, heads) for part in (query_BSD, key_BSD, value_BSD))
        context = functional.scaled_dot_product_attention(*parts, attn_mask=bias_HSS.unsqueeze(0))
        _finish(context, query_BSD, key_BSD, value_BSD, bias.table_RH)


def _time_table(query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, heads: int, bias: TableBias) -> None:
    with torch.enable_grad():
        context = table_attention(query_BSD, key_BSD, value_BSD, heads, bias)
        _finish(context, query_BSD, key_BSD, value_BSD, bias.table_RH)


def _finish(context: Tensor, *wanted: Tensor) -> None:
    """Compute the gradients, and wait for them: a GPU is only asked otherwise."""
    torch.autograd.grad(context, wanted, torch.ones_like(context))
    if context.device.type == "cuda":
        torch.cuda.synchronize(context.device)


def table_attention(query_BSD: Tensor, key_BSD: Tensor, value_BSD: Tensor, heads: int, bias: TableBias) -> Tensor:
    """Return the context (B, S, D), without a bias of all pairs of tokens."""
    compute: Any = _flex() if query_BSD.device.type == "cuda" else _by_flex
    parts = (_by_head(part, heads) for part in (query_BSD, key_BSD, value_BSD))
    tiles = _FITTING.get((query_BSD.dtype, query_BSD.shape[2] // heads), 0)
    return compute(*parts, bias.table_RH, *bias.grid, tiles).transpose(1, 2).flatten(2)


@cache
def _flex() -> Any:
    """Return the kernel, compiled: as it stands it would build all scores."""
    return torch.compile(_by_flex, dynamic=False)


def _by_flex(
    query_BHSd: Tensor, key_BHSd: Tensor, value_BHSd: Tensor, table_RH: Tensor, height: int, width: int, tiles: int = 0
) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention  # a second of imports

    def biased(score: Tensor, picture: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + table_RH[table_row(query, key, height, width), head]

    options: Any = _TILES[tiles] or None
    result: Any = flex_attention(query_BHSd, key_BHSd, value_BHSd, score_mod=biased, kernel_options=options)
    return result


def table_row(query: Tensor, key: Tensor, height: int, width: int) -> Tensor:
    """Return the row of the table for a pair of tokens, as `geometry.relative_position_index` has it for all pairs."""
    rows = num_relative_positions(Grid(height, width))
    dy = (query - 1) // width - (key - 1) // width + height - 1
    dx = (query - 1) % width - (key - 1) % width + width - 1
    patches = dy * (2 * width - 1) + dx
    from_cls = torch.where(key == 0, rows + _CLS_ITSELF, rows + _TO_PATCHES)
    return torch.where(query == 0, from_cls, torch.where(key == 0, rows + _TO_CLS, patches))


def whole_bias(bias: TableBias) -> Tensor:
    """Return the bias of all pairs of tokens (H, S, S), keys side by side, as fused kernels of a GPU want them."""
    tokens_S = torch.arange(1 + bias.grid.patches, device=bias.table_RH.device)
    index_SS = table_row(tokens_S[:, None], tokens_S[None, :], *bias.grid)
    return functional.embedding(index_SS, bias.table_RH).permute(2, 0, 1).contiguous()


def _by_head(part_BSD: Tensor, heads: int) -> Tensor:
    B, S, D = part_BSD.shape
    return part_BSD.view(B, S, heads, D // heads).transpose(1, 2)
