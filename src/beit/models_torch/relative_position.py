"""Relative position bias: a table per head, looked up for every pair of tokens, at any grid.

Legend: N patches, S = 1 + N tokens, H heads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.geometry import Grid, bias_offsets, num_relative_positions
from beit.models_torch.tracing import is_same

# A bias that is larger than this is looked up anew in every call: a base model at 640 pixels would otherwise hold
# 1.5 GB of them, four times its weights.
CACHE_BYTES = 32 * 2**20


class Positions(NamedTuple):
    """Positions of the tokens of a batch: the patch grid, and the table row (S, S) of every pair of tokens."""

    grid: Grid
    index_SS: Tensor


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
    """Cached bias, with the grid and the table that it was looked up from."""

    grid: Grid
    table: Tensor
    bias_1HSS: Tensor

    def is_of(self, table: Tensor, grid: Grid) -> bool:
        """Return whether the bias is that of this grid, and the table still has the same values and type."""
        return self.grid == grid and self.table.dtype == table.dtype and torch.equal(self.table, table)


class RelativePositionBias(nn.Module):
    """A learned bias per head for every offset between two patches, and three for [CLS].

    In evaluation on a CPU the bias is looked up once per weights and grid and kept; `train()`, `.to()`,
    `load_state_dict` and any change of the table drop it, and it is never saved.

    Source: arXiv 2106.08254, section 2.3.
    """

    def __init__(self, heads: int, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.relative_position_bias_table = nn.Parameter(torch.zeros(num_relative_positions(grid), heads))
        self._cached: CachedBias | None = None

    def forward(self, positions: Positions) -> Tensor:
        """Return the additive attention mask (1, H, S, S)."""
        if not self._may_cache(positions):
            return self._look_up(positions)
        cached = self._cached  # read once: another thread may replace it
        if cached is None or not cached.is_of(self.relative_position_bias_table, positions.grid):
            # ordinary tensors, also when the caller is in inference mode: a later call may need them for gradients
            with torch.inference_mode(False), torch.no_grad():
                bias_1HSS = self._look_up(Positions(positions.grid, positions.index_SS.clone()))
                cached = CachedBias(positions.grid, self.relative_position_bias_table.detach().clone(), bias_1HSS)
            self._cached = cached
        return cached.bias_1HSS

    def _may_cache(self, positions: Positions) -> bool:
        """Return whether the bias of this call may be cached for later ones."""
        table, tokens = self.relative_position_bias_table, positions.index_SS.shape[0]
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
        # an embedding look-up, because its backward adds up in a fixed order on every device; indexing does not
        bias_SSH = functional.embedding(positions.index_SS, self._table_for(positions.grid))
        return bias_SSH.permute(2, 0, 1).unsqueeze(0)

    def _table_for(self, grid: Grid) -> Tensor:
        """Return the table, stretched bilinearly if the grid is another than that of the weights."""
        table = self.relative_position_bias_table
        if is_same(grid, self.grid):
            return table
        height, width = bias_offsets(self.grid)
        offsets_1Hyx = table[:-3].view(height, width, -1).permute(2, 0, 1).unsqueeze(0)
        resized_1Hyx = functional.interpolate(offsets_1Hyx, size=bias_offsets(grid), mode="bilinear")
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
