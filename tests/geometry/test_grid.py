import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beit.config import check_divisible
from beit.errors import ConfigError
from beit.geometry import Grid, num_relative_positions, patch_grid, relative_position_index

grids = st.builds(Grid, st.integers(1, 9), st.integers(1, 9))


def test_grid_counts_patches():
    assert patch_grid(224, 16) == Grid(14, 14)
    assert patch_grid((224, 112), (16, 8)) == Grid(14, 14)
    assert Grid(2, 7).patches == 14
    assert all(isinstance(side, int) for side in patch_grid(224, 16)), "sides are counts, which shapes are made of"


def test_what_is_left_over_is_in_no_patch():
    assert patch_grid(88, 16) == Grid(5, 5)
    assert patch_grid((63, 28), 14) == Grid(4, 2)


@pytest.mark.parametrize(("size", "remedy"), [(225, "224 or 240"), (8, "resize to 16")])
def test_sizes_that_patches_do_not_tile(size, remedy):
    with pytest.raises(ConfigError, match=remedy):
        check_divisible((size, size), (16, 16))


@given(grids)
def test_same_offset_same_row_and_no_other(grid):
    index = relative_position_index(grid)
    offsets = {}
    for query in range(grid.patches):
        for key in range(grid.patches):
            offset = (query // grid.width - key // grid.width, query % grid.width - key % grid.width)
            offsets.setdefault(offset, set()).add(int(index[1 + query, 1 + key]))
    rows = [row for found in offsets.values() for row in found]
    assert all(len(found) == 1 for found in offsets.values())
    assert len(rows) == len(set(rows)) == num_relative_positions(grid) - 3


@given(grids)
def test_cls_owns_the_last_three_rows(grid):
    index, rows = relative_position_index(grid), num_relative_positions(grid)
    assert set(index[0, 1:]) == {rows - 3}
    assert set(index[1:, 0]) == {rows - 2}
    assert index[0, 0] == rows - 1
    assert index.dtype == np.int64  # torch indexes with nothing else


def test_order_of_a_non_square_grid():
    index = relative_position_index(Grid(2, 3))
    # from the first patch to the last: one row up, two columns left of it
    assert index[1, 6] == (-1 + 1) * 5 + (-2 + 2)
    assert index[6, 1] == (1 + 1) * 5 + (2 + 2)
    assert np.all(index[1:, 1:].diagonal() == 1 * 5 + 2)
