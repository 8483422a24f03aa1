"""From pixels to tokens: patches, the mask token, [CLS] and absolute positions.

Legend: B batch, C channels, N patches, S = 1 + N tokens, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.geometry import Grid


class Embeddings(nn.Module):
    """Cut an image into patches and embed them (arXiv 2106.08254, sections 2.1 and 2.3)."""

    def __init__(
        self,
        dim: int,
        grid: Grid,
        patch_hw: tuple[int, int],
        channels: int = 3,
        mask_token: bool = False,
        absolute_positions: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.patch_hw = patch_hw
        self.patch = nn.Conv2d(channels, dim, kernel_size=patch_hw, stride=patch_hw)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim)) if mask_token else None
        self.position = nn.Parameter(torch.zeros(1, 1 + grid.patches, dim)) if absolute_positions else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixels_BChw: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Return the tokens (B, S, D), [CLS] first; where `mask_BN` is True the mask token stands for the patch.

        Raises:
            ConfigError: If the picture has another size than the model, or the mask another shape than the grid.
        """
        self._check_pixels(pixels_BChw)
        patches_BND = self.patch(pixels_BChw).flatten(2).transpose(1, 2)
        if mask_BN is not None:
            patches_BND = self._masked(patches_BND, mask_BN)
        tokens_BSD = torch.cat((self.cls_token.expand(len(patches_BND), -1, -1), patches_BND), dim=1)
        if self.position is not None:  # after masking: a masked patch keeps its position
            tokens_BSD = tokens_BSD + self.position
        return self.dropout(tokens_BSD)

    def _check_pixels(self, pixels_BChw: Tensor) -> None:
        channels = self.patch.in_channels
        height, width = (count * side for count, side in zip(self.grid, self.patch_hw, strict=True))
        if pixels_BChw.dim() != 4 or tuple(pixels_BChw.shape[1:]) != (channels, height, width):
            raise ConfigError(
                f"pixel_values has shape {tuple(pixels_BChw.shape)}; this model expects "
                f"(batch, {channels}, {height}, {width}): resize the pictures"
            )

    def _masked(self, patches_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Put the mask token in the place of masked patches."""
        if self.mask_token is None:
            raise ConfigError("bool_masked_pos was given to a model without a mask token; set use_mask_token=True")
        mask_BN = mask_BN.flatten(1)  # a (B, height, width) mask is welcome too
        if mask_BN.shape != patches_BND.shape[:2]:
            raise ConfigError(
                f"bool_masked_pos has shape {tuple(mask_BN.shape)}; expected one value per patch, "
                f"{tuple(patches_BND.shape[:2])}"
            )
        return torch.where(mask_BN.bool().unsqueeze(-1), self.mask_token, patches_BND)
