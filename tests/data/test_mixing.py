import numpy as np
import pytest
import torch
from PIL import Image

from beit.data import (
    PAIR,
    Augmentation,
    BatchOrder,
    Collate,
    Mix,
    Mixing,
    RandAugment,
    ViewDataset,
    Views,
    open_source,
    training_batches,
)
from beit.data.erasing import erased
from beit.data.mixing import cut_box, neighbours
from beit.errors import ConfigError
from beit.image import LoadedPicture, Preprocessing


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


def test_ranks_that_would_share_a_pair():
    with pytest.raises(ConfigError, match=r"batch_size 6 is not a multiple of 4: pictures are mixed in pairs.*; use 4"):
        BatchOrder(17, 6, 1, seed=0, world=2, together=PAIR)


def test_erasing_is_a_box_of_noise():
    shares = []
    for seed in range(400):
        changed = erased(np.full((3, 40, 60), 5, np.float32), 1.0, np.random.default_rng(seed))
        box = np.argwhere((changed != 5).any(0))
        (top, left), (bottom, right) = box.min(0), box.max(0) + 1
        assert len(box) == (bottom - top) * (right - left), "a full box"
        shares.append(len(box) / 2400)
        assert 0.25 < (bottom - top) / (right - left) < 4
    assert 0.015 < min(shares) < 0.05
    assert 0.3 < max(shares) < 0.35
    noise = erased(np.full((3, 40, 60), 5, np.float32), 1.0, np.random.default_rng(3))
    noise = noise[noise != 5]
    assert (noise.mean(), noise.std()) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.1))


def test_erasing_by_its_probability():
    flat = np.zeros((3, 8, 8), np.float32)
    assert np.mean([erased(flat, 0.25, np.random.default_rng(s)).any() for s in range(2000)]) == pytest.approx(
        0.25, abs=0.03
    )
    assert not flat.any(), "the caller's picture is as it was"
    rng = np.random.default_rng(0)
    assert erased(flat, 0.0, rng) is flat
    assert rng.random() == np.random.default_rng(0).random()


FULL = Augmentation(rand_augment=RandAugment(), erase=0.5)


def test_batches_with_everything_on_do_not_depend_on_workers(pictures):
    def batches(workers):
        dataset = ViewDataset(open_source(str(pictures)), Views(Preprocessing((32, 32), 36), FULL), 5, True)
        return list(training_batches(dataset, BatchOrder(len(dataset), 4, 6, 5, together=PAIR), Collate(5), workers))

    alone = batches(0)
    for workers in (1, 2):
        for one, other in zip(alone, batches(workers), strict=True):
            assert one.indices == other.indices
            assert torch.equal(one.tensors["pixel_values"], other.tensors["pixel_values"])


def test_operations_and_erasing_change_the_view():
    picture = LoadedPicture(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    still = {"crop_scale": (1, 1), "crop_aspect": (1, 1), "flip": 0.0}
    view = Preprocessing((32, 32), 36)

    def shown(seed, **options):
        return Views(view, Augmentation(**still, **options))(picture, np.random.default_rng(seed))["pixel_values"]

    plain = shown(0)
    assert np.array_equal(plain, shown(1))
    assert sum(not np.array_equal(plain, shown(seed, rand_augment=RandAugment(1))) for seed in range(100)) in range(
        30, 65
    )
    assert sum(not np.array_equal(plain, shown(seed, erase=0.5)) for seed in range(100)) in range(35, 65)
