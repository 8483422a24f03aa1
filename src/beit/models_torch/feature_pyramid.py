"""Feature pyramid: four maps of different resolution from four layers of an encoder that has only one.

Legend: B batch, D hidden, y x rows and columns of the patch grid.
"""

from __future__ import annotations

from torch import Tensor, nn


def feature_pyramid(
    dim: int, batch_norm_eps: float = 1e-5
) -> tuple[nn.Sequential, nn.Sequential, nn.Identity, nn.MaxPool2d]:
    """Return the modules that scale four maps (B, D, y, x) by 4, 2, 1 and 1/2.

    Source: arXiv 2106.08254, section 3.2; `fpn1` to `fpn4` of the original implementation.
    """
    fpn1 = nn.Sequential(
        nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2),
        nn.BatchNorm2d(dim, eps=batch_norm_eps),
        nn.GELU(),
        nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2),
    )
    fpn2 = nn.Sequential(nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2))
    return fpn1, fpn2, nn.Identity(), nn.MaxPool2d(kernel_size=2, stride=2)


def as_map(tokens_BSD: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return patch tokens as a map (B, D, y, x); [CLS] is left out."""
    return tokens_BSD[:, 1:].transpose(1, 2).unflatten(2, grid)
