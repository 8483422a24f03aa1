"""Patch grid of an image."""

from __future__ import annotations

from typing import NamedTuple

from beit.config_checks import Size, check_divisible, pair


class Grid(NamedTuple):
    """A grid of patches: height and width, counted in patches."""

    height: int
    width: int

    @property
    def patches(self) -> int:
        """Number of patches N."""
        return self.height * self.width


def patch_grid(image_size: Size, patch_size: Size) -> Grid:
    """Return the grid of an image, both sizes in pixels: an int or (height, width).

    Raises:
        ConfigError: If a side of the image is not a multiple of the patch size.
    """
    image_hw, patch_hw = pair(image_size), pair(patch_size)
    check_divisible(image_hw, patch_hw)
    return Grid(image_hw[0] // patch_hw[0], image_hw[1] // patch_hw[1])


def num_relative_positions(grid: Grid) -> int:
    """Return the rows of a bias table: one per offset between two patches, and three for [CLS]."""
    # +3: cls-to-patch, patch-to-cls and cls-to-cls each own one bias
    return (2 * grid.height - 1) * (2 * grid.width - 1) + 3
