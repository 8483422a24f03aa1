"""Four maps of different resolution from four layers of an encoder that has only one.

Legend: B batch, D hidden, y x rows and columns of the patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Scale four maps (B, D, y, x) by 4, 2, 1 and 1/2.

    Source: arXiv 2106.08254, section 3.2; `fpn1` to `fpn4` of the original implementation.
    """

    def __init__(self, dim: int, batch_norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.up4 = nn.Sequential(
            nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2),
            nn.BatchNorm2d(dim, eps=batch_norm_eps),
            nn.GELU(),
            nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2),
        )
        self.up2 = nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2)
        self.down2 = nn.MaxPool2d(kernel_size=2, stride=2)

    def forward(self, maps_BDyx: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the four maps at 4, 2, 1 and 1/2 times the resolution of the patch grid."""
        first, second, third, fourth = maps_BDyx
        return self.up4(first), self.up2(second), third, self.down2(fourth)


def as_map(tokens_BSD: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return patch tokens as a map (B, D, y, x); [CLS] has no place in it."""
    return tokens_BSD[:, 1:].transpose(1, 2).unflatten(2, grid)
