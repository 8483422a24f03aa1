import pytest

from beit.errors import ConfigError
from beit.geometry import Grid, patch_grid


def test_grid_counts_patches():
    assert patch_grid(224, 16) == Grid(14, 14)
    assert patch_grid((224, 112), (16, 8)) == Grid(14, 14)
    assert Grid(2, 7).patches == 14
    assert all(isinstance(side, int) for side in patch_grid(224, 16)), "sides are counts, which shapes are made of"


@pytest.mark.parametrize(("size", "remedy"), [(225, "224 or 240"), (8, "resize to 16")])
def test_sizes_that_patches_do_not_tile(size, remedy):
    with pytest.raises(ConfigError, match=remedy):
        patch_grid(size, 16)
