"""Masks of both kinds, of the size that was asked for."""

import numpy as np
import pytest

from beit.data import MaskPlan
from beit.errors import ConfigError
from beit.geometry import Grid

GRID = Grid(6, 8)


def drawn(**options):
    return MaskPlan(GRID, count=20, min_block=4, **options).draw([np.random.default_rng(seed) for seed in range(9)])


@pytest.mark.parametrize("options", [{"exact": True}, {"kind": "random"}])
def test_as_many_patches_as_asked_for(options):
    masks = drawn(**options)
    assert masks.shape == (9, 6, 8)
    assert masks.sum((1, 2)).tolist() == [20] * 9
    assert len({mask.tobytes() for mask in masks}) == 9


def test_blocks_stop_before_the_count():
    assert drawn().sum((1, 2)).max() <= 20


def test_a_mask_depends_on_its_own_generator_alone():
    alone = MaskPlan(GRID, count=20, min_block=4).draw([np.random.default_rng(5)])
    assert np.array_equal(alone[0], drawn()[5])


def test_a_grid_without_room():
    with pytest.raises(ConfigError):
        MaskPlan(GRID, count=49, min_block=4, kind="random").draw([np.random.default_rng(0)])
