"""Embeddings of pixels as tokens: patches, the mask token, [CLS] and absolute positions.

Legend: B batch, C channels, N patches, S = 1 + N tokens, D hidden.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from beit.config import BeitConfig, check_divisible
from beit.errors import ConfigError
from beit.geometry import Grid
from beit.models_torch import kernels
from beit.models_torch.attention import is_same


def mask_on(mask: Any, device: torch.device) -> Tensor:
    """Return a mask of patches, an array of numpy too, on a device."""
    return mask.to(device) if isinstance(mask, Tensor) else torch.as_tensor(mask, device=device)


class PatchEmbeddings(nn.Module):
    """Cut pictures into patches and project them (arXiv 2106.08254, section 2.1)."""

    def __init__(
        self,
        dim: int,
        grid: Grid,
        patch_hw: tuple[int, int],
        channels: int = 3,
        image_hw: tuple[int, int] | None = None,
    ) -> None:
        """Build the projection; an `image_hw` that no grid tiles is accepted, what is left over is not seen."""
        super().__init__()
        self.grid = grid
        self.patch_hw = patch_hw
        self.image_hw = image_hw or (grid.height * patch_hw[0], grid.width * patch_hw[1])
        self.num_channels = channels
        self.projection = nn.Conv2d(channels, dim, kernel_size=patch_hw, stride=patch_hw)

    @property
    def image_size(self) -> tuple[int, int]:
        """Size of the model's pictures, (height, width) in pixels."""
        return self.image_hw

    @property
    def patch_size(self) -> tuple[int, int]:
        """Size of a patch, (height, width) in pixels."""
        return self.patch_hw

    @property
    def patch_shape(self) -> tuple[int, int]:
        """The grid of such pictures, (height, width) in patches."""
        return self.grid.height, self.grid.width

    @property
    def num_patches(self) -> int:
        """Number of patches N of such pictures."""
        return self.grid.patches

    def forward(
        self, pixel_values: Tensor, position_embedding: Tensor | None = None, interpolate: bool = True
    ) -> tuple[Tensor, Grid]:
        """Return the patches (B, N, D), and the grid that they lie on.

        Args:
            pixel_values: Pictures (B, C, h, w) of any height and width that the patch size divides, or of the model's
                own size.
            position_embedding: Positions of the model's own patches to add, (1, N, D), resampled where the grid is
                another, as the published module takes them; or a map of this grid, (1, D, y, x).
            interpolate: Whether pictures may have another size than the model.

        Raises:
            ConfigError: If patches do not tile the picture.
        """
        grid = self._grid_of(pixel_values, interpolate)
        patches_BDyx = self.projection(pixel_values)
        if position_embedding is not None:
            patches_BDyx = patches_BDyx + self._as_map(position_embedding, grid)
        return patches_BDyx.flatten(2).transpose(1, 2), grid

    def _as_map(self, position_embedding: Tensor, grid: Grid) -> Tensor:
        """Return positions as a map (1, D, y, x) of a grid."""
        if position_embedding.dim() == 4:
            return position_embedding
        own_1Dyx = position_embedding.transpose(1, 2).unflatten(2, self.grid)
        return kernels.resize(own_1Dyx, (grid[0], grid[1]), "bicubic")

    def _grid_of(self, pixels_BChw: Tensor, interpolate: bool) -> Grid:
        """Return the grid that the pictures are cut into."""
        if pixels_BChw.dim() != 4 or pixels_BChw.shape[1] != self.num_channels:
            raise ConfigError(
                f"pixel_values has shape {tuple(pixels_BChw.shape)}; expected (batch, {self.num_channels}, height, "
                "width)"
            )
        height, width = pixels_BChw.shape[2:]
        patch_height, patch_width = self.patch_hw
        tiled = not (height % patch_height or width % patch_width) and height and width
        if not tiled and (height, width) != self.image_hw:
            check_divisible((height, width), self.patch_hw)
        grid = Grid(height // patch_height, width // patch_width)
        if not interpolate and grid != self.grid:
            own_height, own_width = self.image_hw
            raise ConfigError(
                f"pictures are {height} x {width} pixels, the model's own size is {own_height} x {own_width}; "
                "resize them or set interpolate_pos_encoding=True"
            )
        return grid


class Embeddings(nn.Module):
    """Patches with [CLS] before them, at their positions (arXiv 2106.08254, sections 2.1 and 2.3)."""

    def __init__(
        self,
        dim: int,
        grid: Grid,
        patch_hw: tuple[int, int],
        channels: int = 3,
        mask_token: bool = False,
        absolute_positions: bool = False,
        dropout: float = 0.0,
        image_hw: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim)) if mask_token else None
        self.patch_embeddings = PatchEmbeddings(dim, grid, patch_hw, channels, image_hw)
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + grid.patches, dim)) if absolute_positions else None
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def of(cls, config: BeitConfig, grid: Grid) -> Embeddings:
        """Build the embeddings that a config describes."""
        return cls(
            config.hidden_size,
            grid,
            config.patch_hw,
            config.num_channels,
            config.use_mask_token,
            config.use_absolute_position_embeddings,
            config.hidden_dropout_prob,
            config.image_hw,
        )

    def forward(
        self, pixel_values: Tensor | None, bool_masked_pos: Tensor | None = None, interpolate: bool = True
    ) -> tuple[Tensor, Grid]:
        """Return the tokens (B, S, D), [CLS] first, and the grid that the patches lie on.

        Args:
            pixel_values: Pictures (B, C, h, w) of any height and width that the patch size divides.
            bool_masked_pos: Where it is True, (B, N), the mask token stands for the patch.
            interpolate: Whether pictures may have another size than the model.

        Raises:
            ConfigError: If patches do not tile the picture, or the mask has another shape than the grid.
        """
        if pixel_values is None:
            raise ConfigError("pixel_values is missing; pass images of shape (batch, channels, height, width)")
        self._check_dtype(pixel_values)
        patches_BND, grid = self.patch_embeddings(pixel_values, interpolate=interpolate)
        if bool_masked_pos is not None:
            patches_BND = self._masked(patches_BND, bool_masked_pos)
        tokens_BSD = torch.cat((self.cls_token.expand(patches_BND.shape[0], -1, -1), patches_BND), dim=1)
        if self.position_embeddings is not None:  # after masking: a masked patch keeps its position
            tokens_BSD = tokens_BSD + self._positions_for(grid)
        return self.dropout(tokens_BSD), grid

    def mask_tokens(self, grid: Grid) -> Tensor:
        """Return a mask token at every patch's position, (1, N, D), for what does not enter with the pictures.

        Raises:
            ConfigError: If there is no mask token.
        """
        tokens_1ND = self._own_mask_token().expand(-1, grid.patches, -1)
        if self.position_embeddings is not None:
            tokens_1ND = tokens_1ND + self._positions_for(grid)[:, 1:]
        return self.dropout(tokens_1ND)

    def _own_mask_token(self) -> Tensor:
        if self.mask_token is None:
            raise ConfigError("bool_masked_pos was given to a model without a mask token; set use_mask_token=True")
        return self.mask_token

    def _check_dtype(self, pixels_BChw: Tensor) -> None:
        wanted = self.cls_token.dtype
        if not pixels_BChw.is_floating_point():
            raise ConfigError(f"pixel_values has dtype {pixels_BChw.dtype}; expected {wanted}, from an image processor")
        if pixels_BChw.dtype != wanted and not kernels.autocasts(pixels_BChw.device):
            raise ConfigError(
                f"pixel_values has dtype {pixels_BChw.dtype}, the model {wanted}; cast one of them or use autocast"
            )

    def _positions_for(self, grid: Grid) -> Tensor:
        """Return the absolute positions (1, S, D), resampled if the grid is another than that of the weights."""
        position_1SD = cast(Tensor, self.position_embeddings)
        if is_same(grid, self.grid):
            return position_1SD
        patches_1Dyx = position_1SD[:, 1:].transpose(1, 2).unflatten(2, self.grid)
        resized_1Dyx = kernels.resize(patches_1Dyx, (grid[0], grid[1]), "bicubic")
        return torch.cat((position_1SD[:, :1], resized_1Dyx.flatten(2).transpose(1, 2)), dim=1)

    def _masked(self, patches_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Put the mask token in the place of masked patches."""
        mask_token_11D = self._own_mask_token()
        mask_BN = mask_on(mask_BN, patches_BND.device)
        if mask_BN.dim() > 1:
            mask_BN = mask_BN.flatten(1)  # a (B, height, width) mask is welcome too
        if mask_BN.shape != patches_BND.shape[:2]:
            raise ConfigError(
                f"bool_masked_pos has shape {tuple(mask_BN.shape)}; expected one value per patch, "
                f"{tuple(patches_BND.shape[:2])}"
            )
        return torch.where(mask_BN.bool().unsqueeze(-1), mask_token_11D, patches_BND)
