"""Mixup and cutmix."""

import numpy as np
import pytest
import torch

from beit.data import (
    PAIR,
    BatchOrder,
    Mix,
    Mixing,
)
from beit.data.transforms.mixing import cut_box, neighbours


def test_neighbours_change_places():
    assert neighbours(torch.tensor([10, 11, 12, 13])).tolist() == [11, 10, 13, 12]


def test_mixup_by_hand():
    mix = Mix(0.75)
    assert mix.pictures(torch.tensor([0.0, 8.0]).view(2, 1, 1, 1)).flatten().tolist() == [2.0, 6.0]
    assert mix.targets(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_cutmix_by_hand():
    # a quarter stays of itself: the box has half of 8 in each direction, here at the upper edge, where two rows are cut
    assert cut_box(8, 8, 0.75, row=0, column=4) == (0, 2, 2, 6)
    pictures = torch.stack((torch.zeros(1, 8, 8), torch.ones(1, 8, 8)))
    mixed = Mix(1 - 8 / 64, (0, 2, 2, 6)).pictures(pictures)
    assert mixed[0].sum() == 8
    assert (mixed[0, 0, :2, 2:6] == 1).all()
    assert torch.equal(mixed[1], 1 - mixed[0])
    assert pictures[0].sum() == 0, "the caller's pictures are as they were"


def test_the_target_follows_the_box_that_was_cut_at_the_edge():
    mixing = Mixing(cutmix=1.0)
    for seed in range(200):
        mix = mixing.draw(16, 24, np.random.default_rng(seed))
        top, left, bottom, right = mix.box
        assert 0 <= top <= bottom <= 16
        assert 0 <= left <= right <= 24
        assert mix.share == pytest.approx(1 - (bottom - top) * (right - left) / (16 * 24))


def test_shares_and_modes_are_as_published():
    mixing = Mixing(mixup=0.8, cutmix=1.0, probability=0.9, switch=0.3)
    mixes = [mixing.draw(32, 32, np.random.default_rng(seed)) for seed in range(4000)]
    cut, up = [m for m in mixes if m.box is not None], [m for m in mixes if m.box is None and m.share < 1]
    assert len(cut) / 4000 == pytest.approx(0.27, abs=0.03)
    assert len(up) / 4000 == pytest.approx(0.63, abs=0.03)
    shares = np.array([m.share for m in up])
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.01)  # of Beta(0.8, 0.8)
    only = Mixing(mixup=0.8)
    assert {only.draw(8, 8, np.random.default_rng(seed)).box for seed in range(50)} == {None}
    assert Mixing().draw(8, 8, np.random.default_rng(0)).share == 1
    assert not Mixing(probability=0, mixup=1).active


@pytest.mark.parametrize("world", [1, 2, 3])
def test_what_is_mixed_does_not_depend_on_the_ranks(world):
    mix = Mix(0.75)
    whole = {}
    for rank in range(world):
        for step, batch in enumerate(BatchOrder(17, 12, 4, 3, rank=rank, world=world, together=PAIR)):
            indices = torch.tensor([index for _, index in batch], dtype=torch.float32)
            mixed = mix.pictures(indices.view(-1, 1, 1, 1)).flatten().tolist()
            for position, value in zip(batch, mixed, strict=True):
                whole[step, position] = value
    plain = list(BatchOrder(17, 12, 4, 3))
    expected = {}
    for step, batch in enumerate(plain):
        for place, position in enumerate(batch):
            other = batch[place ^ 1]
            expected[step, position] = 0.75 * position[1] + 0.25 * other[1]
    assert whole == expected
