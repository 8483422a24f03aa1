"""Masks: block-wise as recorded and as the plain algorithm makes them, single patches, and plans of both."""

import json
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beit.errors import ConfigError
from beit.geometry import Grid, MaskPlan, block_masks, random_masks
from tests.conftest import GOLDEN

PAPER = Grid(14, 14)
GRID = Grid(6, 8)


@pytest.fixture(scope="module")
def reference():
    return dict(np.load(GOLDEN / "masking" / "masks.npz"))


@pytest.fixture(scope="module")
def ours():
    return block_masks(PAPER, 75, np.random.default_rng(7), batch=20000)


def chi_square_per_cell(first, second):
    """Two histograms of the same size of sample: about 1 if both come from one distribution."""
    both = first + second
    rare = both < 20  # too few for a test: pooled into one cell
    first = np.append(first[~rare], first[rare].sum()).astype(float)
    second = np.append(second[~rare], second[rare].sum()).astype(float)
    total = first + second
    cells = total > 0
    return (((first - second) ** 2)[cells] / total[cells]).sum() / max(1, cells.sum() - 1)


def test_counts_are_distributed_as_recorded(ours, reference):
    counts = np.bincount(ours.sum(axis=(1, 2)), minlength=197)
    assert chi_square_per_cell(counts, reference["count_histogram"]) < 3


def test_positions_are_masked_as_often_as_recorded(ours, reference):
    # standard deviation of a difference of two frequencies over 20,000 masks: at most 0.005
    assert np.abs(ours.mean(axis=0) - reference["position_frequency"]).max() < 0.02
    assert np.abs(ours.mean(axis=0) - reference["position_frequency"]).mean() < 0.005


def test_neighbours_hang_together_as_recorded(ours, reference):
    """Blocks: the share of equal neighbours, which random masks have at about 0.53, is that of the recorded masks."""
    recorded = np.unpackbits(reference["masks_packed"], axis=1)[:, :196].reshape(-1, 14, 14).astype(bool)

    def equal_neighbours(masks):
        return (masks[:, 1:] == masks[:, :-1]).mean(), (masks[:, :, 1:] == masks[:, :, :-1]).mean()

    assert np.allclose(equal_neighbours(ours), equal_neighbours(recorded), atol=0.012)


def test_mean_count_as_recorded(ours):
    recorded = json.loads((GOLDEN / "masking" / "stats.json").read_text())
    assert abs(ours.sum(axis=(1, 2)).mean() - recorded["mean_count"]) < 0.05


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 16), st.integers(2, 16), st.data())
def test_never_more_than_asked_and_never_none(height, width, data):
    grid = Grid(height, width)
    min_block = data.draw(st.integers(1, max(1, grid.patches // 4)))
    count = data.draw(st.integers(min_block, grid.patches))
    seed = data.draw(st.integers(0, 1000))
    try:
        masks = block_masks(grid, count, np.random.default_rng(seed), batch=5, min_block=min_block)
    except ConfigError as refused:  # narrow grids hold no block of some sizes, and an empty mask is no answer
        assert min(grid) < 5
        assert "no block of at least" in str(refused)  # noqa: PT017
        return
    assert masks.shape == (5, height, width)
    assert masks.sum(axis=(1, 2)).max() <= count
    assert masks.sum(axis=(1, 2)).min() >= 1
    exact = block_masks(grid, count, np.random.default_rng(seed), batch=5, min_block=min_block, exact=True)
    assert set(exact.sum(axis=(1, 2))) == {count}
    assert np.all(exact | ~masks), "exact masks keep the blocks"


def plain_mask(grid, count, rng, min_block=16, min_aspect=0.3):
    """One mask by the published algorithm step by step: attempt after attempt, block after block."""
    mask = np.zeros(grid, bool)
    while mask.sum() < count:
        for _ in range(10 if mask.any() else 1000):
            allowed, (for_area, for_aspect, for_top, for_left) = count - mask.sum(), rng.random(4)
            area = min_block + for_area * (allowed - min_block)
            aspect = exp(log(min_aspect) + for_aspect * (log(1 / min_aspect) - log(min_aspect)))
            height, width = round(sqrt(area * aspect)), round(sqrt(area / aspect))
            if height >= grid.height or width >= grid.width:
                continue
            top, left = int(for_top * (grid.height - height + 1)), int(for_left * (grid.width - width + 1))
            block = np.zeros(grid, bool)
            block[top : top + height, left : left + width] = True
            if 0 < (block & ~mask).sum() <= allowed:
                mask |= block
                break
        else:
            return mask
    return mask


@pytest.mark.parametrize(
    ("grid", "count", "options"),
    [
        (PAPER, 75, {}),
        (Grid(9, 20), 60, {"min_block": 4, "min_aspect": 0.1}),
        (Grid(20, 9), 100, {"min_block": 9, "min_aspect": 1}),
        (Grid(5, 4), 10, {"min_block": 1, "min_aspect": 0.5}),
        (Grid(4, 30), 60, {"min_block": 30}),  # where a first block takes some forty attempts
    ],
)
def test_every_mask_is_that_of_the_plain_algorithm(grid, count, options):
    masks = block_masks(grid, count, [np.random.default_rng(seed) for seed in range(60)], **options)
    for seed, mask in enumerate(masks):
        assert np.array_equal(mask, plain_mask(grid, count, np.random.default_rng(seed), **options))


def test_exact_masks_keep_their_blocks():
    """Single patches are added to the blocks that the same generators give, everywhere alike."""
    generators = [[np.random.default_rng(seed) for seed in range(400)] for _ in range(2)]
    blocks, exact = block_masks(PAPER, 75, generators[0]), block_masks(PAPER, 75, generators[1], exact=True)
    assert not (blocks & ~exact).any()
    added = exact & ~blocks
    assert (added.sum(axis=(1, 2)) == 75 - blocks.sum(axis=(1, 2))).all()
    halves = added[:, :7].sum() / (~blocks[:, :7]).sum(), added[:, 7:].sum() / (~blocks[:, 7:]).sum()
    assert halves[0] == pytest.approx(halves[1], rel=0.3)


def test_one_generator_makes_one_mask_unless_more_are_asked_for():
    assert block_masks(PAPER, 75, np.random.default_rng(0)).shape == (1, 14, 14)
    assert block_masks(PAPER, 75, np.random.default_rng(0), batch=0).shape == (0, 14, 14)
    assert block_masks(PAPER, 75, []).shape == (0, 14, 14)
    masks = block_masks(PAPER, 75, np.random.default_rng(0), batch=3)
    assert masks.dtype == bool
    assert len({mask.tobytes() for mask in masks}) == 3, "each has numbers of its own"


def test_the_limits_themselves_are_allowed():
    grid = Grid(4, 4)
    assert block_masks(grid, 16, np.random.default_rng(0), min_block=1, exact=True).all()
    assert block_masks(grid, 1, np.random.default_rng(0), min_block=1, min_aspect=1).sum() == 1
    with pytest.raises(ConfigError, match="no block of at least 16 patches fits into a grid of 4 x 4; lower"):
        block_masks(grid, 16, np.random.default_rng(0), min_block=16)


@pytest.mark.parametrize("exact", [False, True])
def test_a_mask_depends_on_its_own_generator_alone(exact):
    """Some of so many need more attempts than are drawn at once, and the others must not notice."""
    numbers = range(64)
    together = block_masks(PAPER, 150, [np.random.default_rng(number) for number in numbers], exact=exact)
    alone = [block_masks(PAPER, 150, [np.random.default_rng(number)], exact=exact)[0] for number in numbers]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 10}, "10 masked patches with blocks of at least 16"),
        ({"count": 197}, "expected 16 to 196"),
        ({"count": 196, "min_block": 197}, "the smallest block is 197 patches"),
        ({"count": 75, "min_block": 0}, "the smallest block is 0 patches; expected 1 to 196"),
        ({"count": 196, "min_block": 196}, "no block of at least 196 patches fits into a grid of 14 x 14"),
        ({"count": 75, "min_aspect": 0}, "aspect ratio is 0; expected a number above 0, up to 1"),
        ({"count": 75, "min_aspect": 1.5}, "aspect ratio is 1.5"),
    ],
)
def test_impossible_masks_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        block_masks(PAPER, rng=np.random.default_rng(0), **options)


def generators(seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def test_every_single_patch_is_masked_alike_and_the_count_is_exact():
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


def test_single_patches_depend_on_their_own_generator_alone():
    together, alone = random_masks(Grid(4, 4), 7, generators([1, 2, 3])), random_masks(Grid(4, 4), 7, generators([2]))
    np.testing.assert_array_equal(together[1], alone[0])


@pytest.mark.parametrize("count", [0, 17])
def test_impossible_counts_are_refused(count):
    with pytest.raises(ConfigError, match=f"{count} masked patches; expected 1 to 16"):
        random_masks(Grid(4, 4), count, generators([0]))


@pytest.mark.parametrize("count", [1, 16])
def test_one_patch_and_all_patches_can_be_masked(count):
    assert random_masks(Grid(4, 4), count, generators([0])).sum() == count


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


def test_a_planned_mask_depends_on_its_own_generator_alone():
    alone = MaskPlan(GRID, count=20, min_block=4).draw([np.random.default_rng(5)])
    assert np.array_equal(alone[0], drawn()[5])


def test_a_grid_without_room():
    with pytest.raises(ConfigError):
        MaskPlan(GRID, count=49, min_block=4, kind="random").draw([np.random.default_rng(0)])


def test_a_kind_that_is_not_there():
    with pytest.raises(ConfigError, match=r"the kind of masks is 'rand'; expected one of \['block', 'random'\]"):
        drawn(kind="rand")
