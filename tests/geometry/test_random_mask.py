"""Masks of single patches: exact counts, every patch alike, each from its own generator."""

import numpy as np
import pytest

from beit.errors import ConfigError
from beit.geometry import Grid, random_masks


def generators(seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def test_every_patch_is_masked_alike_and_the_count_is_exact():
    masks = random_masks(Grid(6, 7), 17, generators(range(4000)))
    assert masks.shape == (4000, 6, 7)
    assert (masks.sum(axis=(1, 2)) == 17).all()
    # each patch is masked in 17 of 42; five standard deviations of the mean of 4,000 draws
    assert np.abs(masks.mean(axis=0) - 17 / 42).max() < 5 * np.sqrt(17 / 42 * 25 / 42 / 4000)


def test_neighbours_are_independent_but_for_the_count():
    """Given one masked patch, its neighbour is masked as often as any other: (17 - 1) / (42 - 1)."""
    masks = random_masks(Grid(6, 7), 17, generators(range(4000)))
    both = (masks[:, :, 1:] & masks[:, :, :-1]).mean() / masks[:, :, :-1].mean()
    assert both == pytest.approx(16 / 41, abs=0.01)


def test_a_mask_depends_on_its_own_generator_alone():
    together, alone = random_masks(Grid(4, 4), 7, generators([1, 2, 3])), random_masks(Grid(4, 4), 7, generators([2]))
    np.testing.assert_array_equal(together[1], alone[0])


@pytest.mark.parametrize("count", [0, 17])
def test_impossible_counts_are_refused(count):
    with pytest.raises(ConfigError, match=f"{count} masked patches; expected 1 to 16"):
        random_masks(Grid(4, 4), count, generators([0]))


@pytest.mark.parametrize("count", [1, 16])
def test_one_patch_and_all_patches_can_be_masked(count):
    assert random_masks(Grid(4, 4), count, generators([0])).sum() == count
