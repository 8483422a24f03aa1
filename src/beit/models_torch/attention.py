"""Self-attention, and its relative position bias (arXiv 2106.08254, section 2.3).

Legend: B batch, S = 1 + N tokens, D hidden, H heads, R rows of a table of biases.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.geometry import Grid, bias_offsets, num_relative_positions
from beit.models_torch import kernels
from beit.models_torch.layers import Output

# A bias that is larger than this is looked up anew in every call: a base model at 640 pixels would otherwise hold
# 1.5 GB of them, four times its weights.
CACHE_BYTES = 32 * 2**20


class Positions(NamedTuple):
    """Positions of the tokens of a batch: the patch grid, and the table row (S, S) of every pair of tokens.

    Without rows attention reads them from the table itself.
    """

    grid: Grid
    index_SS: Tensor | None


def position_index(grid: Grid, device: torch.device | None = None) -> Tensor:
    """Return `geometry.relative_position_index` as a tensor, in operations that a compiler can follow.

    They work for a grid whose size is only known when the compiled program runs.
    """
    height, width = grid
    y_N = torch.arange(height, device=device).unsqueeze(1).expand(height, width).reshape(-1)
    x_N = torch.arange(width, device=device).unsqueeze(0).expand(height, width).reshape(-1)
    dy_NN = y_N.unsqueeze(1) - y_N.unsqueeze(0) + height - 1
    dx_NN = x_N.unsqueeze(1) - x_N.unsqueeze(0) + width - 1
    rows = (2 * height - 1) * (2 * width - 1) + 3
    # not functional.pad, whose value would become a constant of an exported program
    to_cls_N1 = torch.full_like(y_N, rows - 2).unsqueeze(1)
    patch_rows = torch.cat((to_cls_N1, dy_NN * (2 * width - 1) + dx_NN), dim=1)
    cls_row = torch.cat((torch.full_like(y_N[:1], rows - 1), torch.full_like(y_N, rows - 3)))  # [CLS] to itself first
    return torch.cat((cls_row.unsqueeze(0), patch_rows))


class CachedBias(NamedTuple):
    """Cached bias, with the grid and the table that it was looked up from; after the first call there is none yet."""

    grid: Grid
    table: Tensor
    bias_1HSS: Tensor | None

    def is_of(self, table: Tensor, grid: Grid) -> bool:
        """Return whether the bias is that of this grid, and the table still has the same values and type."""
        return self.grid == grid and self.table.dtype == table.dtype and torch.equal(self.table, table)


class RelativePositionBias(nn.Module):
    """A learned bias per head for every offset between two patches, and three for [CLS].

    In evaluation on a CPU the bias is kept from the second call with the same weights and grid on: whoever asks once
    shall not hold those of all layers at the same time. `train()`, `.to()`, `load_state_dict` and any change of the
    table drop it, and it is never saved.

    Source: arXiv 2106.08254, section 2.3.
    """

    def __init__(self, heads: int, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.relative_position_bias_table = nn.Parameter(torch.zeros(num_relative_positions(grid), heads))
        self._cached: CachedBias | None = None

    @property
    def window_size(self) -> tuple[int, int]:
        """The grid of the table, (height, width) in patches."""
        return self.grid.height, self.grid.width

    @property
    def num_relative_distance(self) -> int:
        """Number of rows of the table."""
        return self.relative_position_bias_table.shape[0]

    @property
    def relative_position_index(self) -> Tensor:
        """Row of the table for every pair of tokens on its grid, (S, S)."""
        return position_index(self.grid, self.relative_position_bias_table.device)

    def forward(self, positions: Positions | None = None) -> Tensor | kernels.TableBias:
        """Return the additive attention mask (1, H, S, S), or for positions without rows the table to read it from.

        Without positions the tokens lie on the grid of the table.
        """
        if positions is None:
            positions = Positions(self.grid, position_index(self.grid, self.relative_position_bias_table.device))
        if positions.index_SS is None:
            return kernels.TableBias(self._table_for(positions.grid), positions.grid)
        if not self._may_cache(positions.index_SS):
            return self._look_up(positions)
        cached = self._cached  # read once: another thread may replace it
        known = cached is not None and cached.is_of(self.relative_position_bias_table, positions.grid)
        if cached is not None and known and cached.bias_1HSS is not None:
            return cached.bias_1HSS
        # ordinary tensors, also when the caller is in inference mode: a later call may need them for gradients
        with torch.inference_mode(False), torch.no_grad():
            bias_1HSS = self._look_up(Positions(positions.grid, positions.index_SS.clone()))
            table = self.relative_position_bias_table.detach().clone()
        self._cached = CachedBias(positions.grid, table, bias_1HSS if known else None)
        return bias_1HSS

    def _may_cache(self, index_SS: Tensor) -> bool:
        """Return whether the bias of this call may be cached for later ones."""
        table, tokens = self.relative_position_bias_table, index_SS.shape[0]
        if self.training or torch.compiler.is_compiling():
            return False
        if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            return False
        if torch.is_grad_enabled() and table.requires_grad:
            return False
        # On an accelerator a look-up costs less than asking whether the table has changed. Elsewhere the table itself
        # is compared, since changes through `table.data` (averaged weights) leave no other trace.
        if type(table) is not nn.Parameter or table.device.type != "cpu":  # sharded or replaced by a transform
            return False
        return tokens * tokens * table.shape[1] * table.element_size() <= CACHE_BYTES

    def _look_up(self, positions: Positions) -> Tensor:
        index_SS = positions.index_SS
        assert index_SS is not None  # noqa: S101  # for the type checker: `forward` has seen to it
        return kernels.pair_bias(self._table_for(positions.grid), index_SS, positions.grid)

    def _table_for(self, grid: Grid) -> Tensor:
        """Return the table, stretched bilinearly if the grid is another than that of the weights."""
        table = self.relative_position_bias_table
        if is_same(grid, self.grid):
            return table
        height, width = bias_offsets(self.grid)
        offsets_1Hyx = table[:-3].view(height, width, -1).permute(2, 0, 1).unsqueeze(0)
        resized_1Hyx = kernels.resize(offsets_1Hyx, bias_offsets(grid))
        return torch.cat((resized_1Hyx.flatten(2)[0].T, table[-3:]))

    def drop_cache(self) -> None:
        """Drop the cached bias."""
        self._cached = None

    def train(self, mode: bool = True) -> RelativePositionBias:
        """Switch between training and evaluation."""
        self.drop_cache()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:  # .to(), .half(), .cuda(), ...
        self.drop_cache()
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.drop_cache()
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:  # copies and pickles hold no bias
        return {**self.__dict__, "_cached": None}


def is_same(grid: Grid, other: Grid) -> bool:
    """Return whether two grids are the same.

    A program that is compiled for any size must not ask: the answer would fix its size. There only grids that are the
    same for sure are, and resampling to the same grid changes nothing.
    """
    if torch.compiler.is_compiling():
        from torch.fx.experimental.symbolic_shapes import statically_known_true  # half a second of algebra

        return all(statically_known_true(mine == its) for mine, its in zip(grid, other, strict=True))
    return grid == other


class SelfAttention(nn.Module):
    """Attention without its output projection; queries and values have a bias, keys have none.

    Pruned heads have no columns in the projections. They keep theirs in the tables of relative position biases, which
    are made for all heads and cut to those that are left: a table may be shared with layers that have other heads.
    """

    def __init__(
        self, dim: int, heads: int, grid: Grid | None = None, dropout: float = 0.0, pruned: Collection[int] = ()
    ) -> None:
        """Build the projections; a `grid` gives this layer its own relative position bias."""
        super().__init__()
        self.all_heads = heads
        self.kept = [head for head in range(heads) if head not in pruned]
        self.heads = len(self.kept)
        width = dim // heads * self.heads
        self.query = _projection(dim, width, bias=True)
        self.key = _projection(dim, width, bias=False)
        self.value = _projection(dim, width, bias=True)
        self.dropout = nn.Dropout(dropout)
        self.relative_position_bias = RelativePositionBias(heads, grid) if grid is not None else None

    @property
    def num_attention_heads(self) -> int:
        """Number of heads that are left."""
        return self.heads

    @property
    def attention_head_size(self) -> int:
        """Width of a head."""
        return self.query.out_features // self.heads

    @property
    def all_head_size(self) -> int:
        """Width of all heads together."""
        return self.query.out_features

    def forward(
        self,
        hidden_states: Tensor,
        head_mask: Tensor | None = None,
        output_attentions: bool = False,
        relative_position_bias: Tensor | None = None,
        positions: Positions | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context (B, S, D), and the attention maps (B, H, S, S) if asked for; see `Attention.forward`."""
        tokens_BSD = hidden_states
        if positions is None:
            self._check_tokens(tokens_BSD)
        bias_1HSS = self._bias(positions, relative_position_bias)
        head_mask_H = None if head_mask is None else head_mask.flatten()
        if head_mask_H is not None and head_mask_H.shape[0] != self.heads:
            head_mask_H = head_mask_H[self.kept]
        # one after the other, which is as fast as one product of all three
        query_BSD, key_BSD, value_BSD = kernels.linear_each((self.query, self.key, self.value), tokens_BSD)
        return kernels.attention(
            query_BSD,
            key_BSD,
            value_BSD,
            self.heads,
            bias_1HSS,
            head_mask_H,
            getattr(self.dropout, "p", 0.0) if self.dropout.training else 0.0,
            output_attentions,
            None if kernels.is_untouched(self.dropout, nn.Dropout) else self.dropout,
        )

    def _check_tokens(self, tokens_BSD: Tensor) -> None:
        """Refuse tokens of another grid than that of the bias, for which positions are needed."""
        own = self.relative_position_bias
        if isinstance(own, RelativePositionBias) and tokens_BSD.shape[1] != 1 + own.grid.patches:
            raise ConfigError(
                f"there are {tokens_BSD.shape[1]} tokens; expected {1 + own.grid.patches}, [CLS] and a grid of "
                f"{own.grid.height} x {own.grid.width}, or positions=encoder.relative_positions(grid, device)[0]"
            )

    def _bias(
        self, positions: Positions | None, shared_bias_1HSS: Tensor | None
    ) -> Tensor | kernels.TableBias | None:  # fmt: skip
        """Return the bias of the heads that are left: the layer's own, or its table, and what is shared."""
        own = self.relative_position_bias(positions) if self.relative_position_bias is not None else None
        if isinstance(own, kernels.TableBias):
            table_RH = own.table_RH
            return own if table_RH.shape[1] == self.heads else own._replace(table_RH=table_RH[:, self.kept])
        if shared_bias_1HSS is not None and shared_bias_1HSS.dim() == 3:  # as the published module returns it
            shared_bias_1HSS = shared_bias_1HSS.unsqueeze(0)
        bias_1HSS = sum_present(own, shared_bias_1HSS)
        if bias_1HSS is not None and bias_1HSS.shape[1] != self.heads:
            bias_1HSS = bias_1HSS[:, self.kept]
        return bias_1HSS

    def prune_heads(self, heads: Collection[int]) -> Tensor:
        """Take heads out of the projections, and return the places of the others in the context that they had."""
        size = self.query.out_features // self.heads
        places = [
            place * size + offset for place, head in enumerate(self.kept) if head not in heads for offset in range(size)
        ]
        kept_E = torch.tensor(places, device=self.query.weight.device)
        for layer in (self.query, self.key, self.value):
            for name, parameter in list(layer.named_parameters(recurse=False)):  # keys have no bias
                layer.register_parameter(name, _selected(parameter, 0, kept_E))
            layer.out_features = len(places)
        self.kept = [head for head in self.kept if head not in heads]
        self.heads = len(self.kept)
        return kept_E


class Attention(nn.Module):
    """Multi-head self-attention with its output projection."""

    def __init__(
        self,
        dim: int,
        heads: int,
        grid: Grid | None = None,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
        pruned: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads, grid, dropout, pruned)
        self.output = Output(self.attention.query.out_features, dim, out_dropout)

    @property
    def pruned_heads(self) -> set[int]:
        """Heads that are gone, counted as in the whole layer."""
        return set(range(self.attention.all_heads)) - set(self.attention.kept)

    def forward(
        self,
        hidden_states: Tensor,
        head_mask: Tensor | None = None,
        output_attentions: bool = False,
        relative_position_bias: Tensor | None = None,
        positions: Positions | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the branch (B, S, D), and the attention maps (B, H, S, S) if asked for.

        Args:
            hidden_states: Normalised tokens, (B, S, D).
            head_mask: 1 keeps a head, 0 silences it; any shape that holds a number per head.
            output_attentions: Whether to return the maps, which costs the fused kernel.
            relative_position_bias: A bias that all layers share, (H, S, S) or (1, H, S, S), added to this layer's own.
            positions: Where the tokens lie, for the layer's own bias; by default on the grid of its table.
        """
        context_BSD, maps_BHSS = self.attention(
            hidden_states, head_mask, output_attentions, relative_position_bias, positions
        )
        return self.output(context_BSD), maps_BHSS

    def prune_heads(self, heads: Collection[int]) -> None:
        """Take heads, counted as in the whole layer, out of all projections; their parameters are new ones."""
        dense, kept_E = self.output.dense, self.attention.prune_heads(heads)
        dense.register_parameter("weight", _selected(dense.weight, 1, kept_E))
        dense.in_features = len(kept_E)


def _projection(dim: int, width: int, bias: bool) -> nn.Linear:
    """Return a linear layer; the bias starts at 0, so that it takes no random numbers."""
    layer = nn.Linear(dim, width, bias=False)
    if bias:
        layer.bias = nn.Parameter(torch.zeros(width))
    return layer


def _selected(parameter: Tensor, axis: int, places: Tensor) -> nn.Parameter:
    return nn.Parameter(parameter.detach().index_select(axis, places), parameter.requires_grad)


def sum_present(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the sum of two biases, either of which may not be there."""
    if first is None or second is None:
        return first if second is None else second
    return first + second
