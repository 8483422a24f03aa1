import numpy as np
import torch
from PIL import Image

from beit.data import (
    Augmentation,
    BatchOrder,
    Collate,
    MaskPlan,
    ViewDataset,
    Views,
    evaluation_batches,
    open_source,
    training_batches,
)
from beit.data.augmentation import random_crop
from beit.geometry import Grid
from beit.image import LoadedPicture, Preprocessing

VIEWS = Views(Preprocessing((32, 32), (36, 36)), Augmentation(color_jitter=0.4), (16, 16))


def test_both_views_show_the_same_crop():
    """A smooth picture looks the same at both sizes, wherever the crop, flip and jitter fall."""
    ramp = np.linspace(0, 255, 64)
    pixels = np.stack(
        [np.add.outer(ramp, ramp) / 2, np.add.outer(ramp, -ramp) / 2 + 127, np.add.outer(-ramp, ramp) / 2 + 127], -1
    )
    picture = Image.fromarray(pixels.astype(np.uint8))
    for seed in range(20):
        views = VIEWS(LoadedPicture(picture), np.random.default_rng(seed))
        large = (views["pixel_values"] + 1) / 2
        halved = large.reshape(3, 16, 2, 16, 2).mean(axis=(2, 4))
        assert np.abs(halved - views["tokenizer_pixels"]).max() < 0.03
        assert 0 <= views["tokenizer_pixels"].min() <= views["tokenizer_pixels"].max() <= 1


def test_crops_keep_their_promises():
    rng = np.random.default_rng(0)
    for _ in range(300):
        left, top, right, bottom = random_crop(40, 60, (0.2, 0.5), (0.5, 2), rng)
        assert 0 <= left < right <= 60
        assert 0 <= top < bottom <= 40
        assert 0.15 < (right - left) * (bottom - top) / 2400 < 0.55
        assert 0.4 < (right - left) / (bottom - top) < 2.5


def test_impossible_crops_fall_back_to_the_centre():
    left, top, right, bottom = random_crop(10, 100, (1, 1), (1, 1), np.random.default_rng(0))
    assert (right - left, bottom - top, left) == (10, 10, 45)


def samples(pictures, workers, start=0):
    dataset = ViewDataset(open_source(str(pictures)), VIEWS, seed=5, replace_broken=True)
    collate = Collate(5, MaskPlan(Grid(4, 4), count=6, min_block=2))
    order = BatchOrder(len(dataset), 5, 6, seed=5, start=start)
    return list(training_batches(dataset, order, collate, workers))


def test_batches_do_not_depend_on_workers_or_on_where_a_run_starts(pictures):
    alone = samples(pictures, workers=0)
    for others in (samples(pictures, workers=2), alone[:2] + samples(pictures, workers=0, start=2)):
        for one, other in zip(alone, others, strict=True):
            assert one.indices == other.indices
            assert (
                one.tensors.keys()
                == other.tensors.keys()
                == {"pixel_values", "tokenizer_pixels", "labels", "bool_masked_pos"}
            )
            for name, tensor in one.tensors.items():
                assert torch.equal(tensor, other.tensors[name])


def test_epochs_differ(pictures):
    dataset = ViewDataset(open_source(str(pictures)), VIEWS, seed=5, replace_broken=True)
    one, other = dataset[0, 3].views["pixel_values"], dataset[1, 3].views["pixel_values"]
    assert not np.array_equal(one, other)


def test_a_broken_picture_is_replaced_in_training_and_left_out_in_evaluation(pictures):
    (pictures / "cat" / "2.png").write_bytes(b"broken")
    source = open_source(str(pictures))
    training = ViewDataset(source, VIEWS, seed=0, replace_broken=True)[0, 2]
    assert training.position == (0, 3)
    assert [broken.name for broken in training.broken] == [source.name(2)]
    batches = list(evaluation_batches(ViewDataset(source, VIEWS, 0, replace_broken=False), Collate(0), 4, workers=0))
    assert [index for batch in batches for index in batch.indices] == [0, 1, *range(3, 12)]
    assert sum(len(batch.broken) for batch in batches) == 1
