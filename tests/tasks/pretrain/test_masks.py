"""Sizes of masks that are left open follow the grid; those that are given are kept or refused."""

import numpy as np
import pytest

from beit.errors import ConfigError
from beit.geometry import Grid
from beit.settings.groups import DataSettings, ModelSettings
from beit.settings.pretrain import MaskSettings, PretrainJob
from beit.tasks.pretrain.masks import mask_choices, mask_plan
from beit.tasks.pretrain.task import PretrainTask


@pytest.mark.parametrize(
    ("grid", "count", "min_block"),
    [
        (Grid(14, 14), 75, 16),  # the paper's own
        (Grid(24, 24), 220, 47),
        (Grid(8, 8), 24, 5),
        (Grid(4, 4), 6, 1),
        (Grid(2, 2), 2, 1),
        (Grid(4, 12), 18, 4),
    ],
)
def test_open_sizes_are_the_papers_share_of_the_grid(grid, count, min_block):
    plan = mask_plan(MaskSettings(), grid)
    assert (plan.count, plan.min_block) == (count, min_block)
    masked = plan.draw([np.random.default_rng(seed) for seed in range(100)]).sum(axis=(1, 2))
    assert 1 <= masked.min() <= masked.max() <= count


def test_given_sizes_stay_beside_open_ones():
    plan = mask_plan(MaskSettings(count=30), Grid(8, 8))
    assert (plan.count, plan.min_block) == (30, 5)
    assert not mask_choices(MaskSettings(count=30, min_block=2), Grid(8, 8))


def test_a_given_count_that_the_grid_has_no_room_for_is_refused():
    with pytest.raises(ConfigError, match=r"75 masked patches .* grid of 16 patches.*settings mask\.count"):
        mask_plan(MaskSettings(count=75), Grid(4, 4))


def test_a_task_names_what_it_chose_and_why():
    job = PretrainJob(DataSettings("pictures"), model=ModelSettings(size="tiny", image_size=64, patch_size=8))
    chosen = {choice.setting: choice for choice in PretrainTask(job).choices()}
    assert {name: choice.value for name, choice in chosen.items()} == {"mask.count": 24, "mask.min_block": 5}
    assert chosen["mask.count"].reason == "of 64 patches, as 75 of 196 in the paper"
