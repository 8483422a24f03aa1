"""Views on the device of the model have the values of those that loading processes make, but for rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from beit.data import (
    AffineRange,
    Augmentation,
    Collate,
    DeviceViews,
    KeptPictures,
    RandAugment,
    ViewDataset,
    Views,
    open_source,
)
from beit.data.sources.source import ImageSource
from beit.data.transforms.device_views import jittered
from beit.errors import ConfigError
from beit.image import LoadedPicture, Preprocessing

SIDE = 48
VIEWS = Views(Preprocessing((32, 32), (36, 36), std=(0.2, 0.25, 0.3)), Augmentation(color_jitter=0.4), (16, 16))


class Noise(ImageSource):
    """Pictures of noise, of many sizes."""

    def __init__(self):
        rng = np.random.default_rng(0)
        shapes = rng.integers(8, SIDE + 1, (64, 2))
        self.pictures = [Image.fromarray(rng.integers(0, 256, (*hw, 3), dtype=np.uint8)) for hw in shapes.tolist()]

    def __len__(self):
        return len(self.pictures)

    def name(self, index):
        return str(index)

    def open(self, index):
        return LoadedPicture(self.pictures[index])

    def contents(self):
        yield "noise"


def batch(views, count=64):
    dataset = ViewDataset(Noise(), views, seed=3, replace_broken=True)
    return Collate(3)([dataset[1, index] for index in range(count)]).tensors


def levels(tensors, view=VIEWS):
    """Both views as they are in 8 bits."""
    std, mean = (torch.tensor(values).view(-1, 1, 1) for values in (view.preprocessing.std, view.preprocessing.mean))
    return tensors["pixel_values"] * std * 255 + mean * 255, tensors["tokenizer_pixels"] * 255


def test_pictures_that_are_kept_are_handed_out_as_others():
    made, kept = DeviceViews(VIEWS, SIDE), KeptPictures(Noise(), 2**20)
    wanted, dataset = batch(made), ViewDataset(kept, made, seed=3, replace_broken=True)
    found = Collate(3)([dataset[1, index] for index in range(64)]).tensors
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_kept_jpeg_that_is_shown_small_is_decoded_small(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
    source = open_source(str(tmp_path))
    small = replace(VIEWS, preprocessing=Preprocessing((8, 8), (8, 8)), tokenizer_hw=None)
    made = DeviceViews(small, SIDE)
    found, wanted = (
        Collate(3)([ViewDataset(one, made, 3, replace_broken=True)[1, index] for index in range(8)]).tensors
        for one in (KeptPictures(source, 2**20), source)
    )
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert int(wanted["boxes"][:, 4].min()) < 48, "some are reduced"


@pytest.mark.parametrize("jitter", [0.0, 0.4, 1.5])
@pytest.mark.parametrize("side", [12, 32, 64])
def test_values_are_those_of_the_loading_processes(jitter, side):
    """At most one level of 256 away, and fewer than one in 10,000, of noise, which overshoots everywhere."""
    views = replace(VIEWS, augmentation=Augmentation(color_jitter=jitter), tokenizer_hw=(side, side))
    made = DeviceViews(views, SIDE)
    completed = made.complete(batch(made))
    wanted = batch(views)
    assert completed.keys() == wanted.keys()
    for ours, theirs in zip(levels(completed), levels(wanted), strict=True):
        away = (ours - theirs).abs()
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert away.max() < 1.001
        assert (away > 0.5).float().mean() < 1e-4


def test_colours_are_exactly_those_of_pillow():
    views = replace(VIEWS, augmentation=Augmentation((1, 1), (1, 1), 0.0, 0.8), tokenizer_hw=None)
    made, rng = DeviceViews(views, SIDE), np.random.default_rng(1)
    for picture in Noise().pictures[:16]:
        state = rng.bit_generator.state
        found = {name: torch.from_numpy(value)[None] for name, value in made(LoadedPicture(picture), rng).items()}
        rng.bit_generator.state = state
        changes = views.augmentation.draw(picture.height, picture.width, rng)
        wanted = picture
        for enhancer, factor in changes.jitter:
            wanted = enhancer(wanted).enhance(factor)
        area = torch.tensor([picture.width * picture.height])
        ours = jittered(found["pictures"].permute(0, 3, 1, 2).float(), found["jitter"], area)[0]
        assert np.array_equal(ours[:, : picture.height, : picture.width].permute(1, 2, 0).numpy(), np.asarray(wanted))


def test_values_depend_on_neither_the_batch_nor_what_pictures_are_padded_to():
    made = DeviceViews(VIEWS, SIDE)
    whole, few = (made.complete(batch(made, count)) for count in (64, 3))
    assert all(torch.equal(whole[name][:3], few[name]) for name in few)
    larger = DeviceViews(VIEWS, SIDE + 9)
    assert torch.equal(larger.complete(batch(larger))["pixel_values"], whole["pixel_values"])


def test_what_else_is_in_a_batch_is_kept_and_autocast_changes_nothing():
    made, labels = DeviceViews(VIEWS, SIDE), torch.arange(8)
    with torch.autocast("cpu", torch.bfloat16):
        completed = made.complete({**batch(made, 8), "labels": labels})
    assert completed["labels"] is labels
    assert completed["pixel_values"].dtype == torch.float32
    assert torch.equal(completed["pixel_values"], made.complete(batch(made, 8))["pixel_values"])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"augmentation": Augmentation(affine=AffineRange(5))}, "turned, slanted"),
        ({"augmentation": Augmentation(rand_augment=RandAugment())}, "RandAugment"),
        ({"augmentation": Augmentation(erase=0.1)}, "erased"),
        ({"preprocessing": Preprocessing((32, 48), (36, 52))}, "32 x 48 pixels are not square"),
        ({"preprocessing": Preprocessing((32, 32), (36, 36), mean=(0.5,), std=(0.5,))}, "1 channels"),
    ],
)
def test_other_views_are_refused(changed, reason):
    with pytest.raises(ConfigError, match=f"augment.device is model, and .*{reason}.*; set it to cpu"):
        DeviceViews(replace(VIEWS, **changed), SIDE)
    assert DeviceViews(replace(VIEWS, augmentation=Augmentation(affine=AffineRange())), SIDE).side == SIDE


def test_completion_asks_nothing_of_the_device():
    """On the meta device a value that is asked for, or a shape that depends on one, is an error."""
    made = DeviceViews(VIEWS, SIDE)
    completed = made.complete({name: tensor.to("meta") for name, tensor in batch(made, 4).items()})
    assert completed["pixel_values"].shape == (4, 3, 32, 32)
    assert completed["tokenizer_pixels"].shape == (4, 3, 16, 16)
