"""Patches of scenes: their classes beside a count of pixels, and which of them are drawn."""

import numpy as np
import pytest
import torch
from PIL import Image

from beit import BeitImageProcessor
from beit.data import LabelIds, SceneFolder, Subset
from beit.errors import DataError
from beit.evaluation.features.layers import PictureSet
from beit.evaluation.features.patches import (
    PatchView,
    label_maps_identity,
    patch_classes,
    patch_features,
    seen_label_map,
)
from beit.image import IGNORED, Preprocessing

VIEW = Preprocessing((16, 24), (16, 24))


@pytest.fixture
def place(tmp_path):
    """Five scenes of 32 x 48 pixels, of three classes and ignored pixels; their pictures show the classes."""
    rng = np.random.default_rng(0)
    for name in ("pictures", "masks"):
        (tmp_path / name).mkdir()
    for number in range(5):
        coarse = rng.choice([0, 1, 2, IGNORED], size=(8, 12)).astype(np.uint8)
        coarse[:2, :2] = IGNORED
        mask = Image.fromarray(coarse).resize((48, 32), Image.Resampling.NEAREST)
        mask.save(tmp_path / "masks" / f"{number}.png")
        mask.convert("RGB").save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path


def opened(place, **ids):
    return SceneFolder(place / "pictures", place / "masks", list("abc"), LabelIds(3, **ids))


def scene_set(source, most, seed=0):
    return PictureSet(source, PatchView(VIEW, (4, 6), 3, most), seed, 2, workers=0)


def test_a_patch_is_of_the_class_of_most_of_its_pixels():
    rng = np.random.default_rng(1)
    labels = rng.choice([0, 1, 2, 3, IGNORED], size=(12, 20), p=[0.2, 0.2, 0.1, 0.1, 0.4])
    labels[:4, :5] = IGNORED
    found = patch_classes(labels, (3, 4), 4)
    for number, label in enumerate(found):
        row, column = divmod(number, 4)
        pixels = labels[4 * row : 4 * row + 4, 5 * column : 5 * column + 5].ravel().tolist()
        counts = [pixels.count(one) for one in range(4)]
        assert label == (counts.index(max(counts)) if max(counts) else -1)
    assert found[0] == -1
    assert len(set(found)) > 2


def test_ignored_pixels_have_no_vote():
    labels = np.full((4, 4), IGNORED)
    labels[0, 0] = 2
    assert patch_classes(labels, (1, 1), 3).tolist() == [2]


def test_a_label_map_is_seen_as_the_image_processor_does_it():
    labels = np.random.default_rng(2).integers(0, 5, size=(30, 44)).astype(np.uint8)
    view = Preprocessing((16, 16), 20)
    processor = BeitImageProcessor(size={"shortest_edge": 20}, crop_size=16)
    expected = processor(Image.new("RGB", (44, 30)), segmentation_maps=labels)["labels"][0]
    assert np.array_equal(seen_label_map(labels, view), expected)


def test_beyond_the_picture_nothing_has_a_class():
    seen = seen_label_map(np.ones((8, 8), np.uint8), Preprocessing((16, 16), 8))
    assert (seen[4:12, 4:12] == 1).all()
    assert (seen == IGNORED).sum() == 256 - 64


def levels(tensors):
    """Two layers: the mean of every patch, and its square."""
    pixels = tensors["pixel_values"][:, :1]
    means = torch.nn.functional.adaptive_avg_pool2d(pixels, (4, 6)).flatten(1).unsqueeze(2)
    return [means, means**2]


def test_features_are_those_of_the_patches_with_a_class(place):
    source = opened(place)
    found = patch_features(levels, scene_set(source, 100))
    labels, features, pictures = [], [], []
    for index in range(len(source)):
        scene = source.open(index)
        pixels = VIEW(scene.decode().picture)
        classes = patch_classes(seen_label_map(scene.label_map(), VIEW), (4, 6), 3)
        labels += classes[classes >= 0].tolist()
        features += levels({"pixel_values": torch.from_numpy(pixels[None])})[0][0, classes >= 0].tolist()
        pictures += [index] * int((classes >= 0).sum())
    assert found.labels_P.tolist() == labels
    assert found.pictures_P.tolist() == pictures
    assert found.layers[0].tolist() == features
    assert np.array_equal(found.layers[1], found.layers[0] ** 2)
    assert found.broken == []


def test_so_many_are_drawn_of_each_picture_by_the_seed(place):
    source = opened(place)
    every = patch_features(levels, scene_set(source, 100))
    some, again, other = (patch_features(levels, scene_set(source, 3, seed)) for seed in (0, 0, 1))
    assert np.bincount(some.pictures_P).tolist() == [3] * 5
    assert some.layers[0].tolist() == again.layers[0].tolist()
    assert some.layers[0].tolist() != other.layers[0].tolist()
    assert set(some.layers[0].ravel()) <= set(every.layers[0].ravel())
    part = patch_features(levels, scene_set(Subset(source, np.array([1, 4])), 3))
    assert part.labels_P.tolist() == some.labels_P[np.isin(some.pictures_P, [1, 4])].tolist()  # of any part of the set


def test_scenes_that_do_not_fit_are_left_out_and_named(place):
    Image.new("L", (10, 10)).save(place / "masks" / "2.png")
    found = patch_features(levels, scene_set(opened(place), 3))
    assert [broken.name for broken in found.broken] == [str(place / "pictures" / "2.png")]
    assert set(found.pictures_P) == {0, 1, 3, 4}
    for number in range(5):
        Image.new("L", (10, 10)).save(place / "masks" / f"{number}.png")
    with pytest.raises(DataError, match=r"none of the 5 pictures is usable; first: .*one number per pixel"):
        patch_features(levels, scene_set(opened(place), 3))


def test_the_identity_of_label_maps_is_their_content_and_meaning(place):
    first = label_maps_identity(opened(place))
    assert first == label_maps_identity(opened(place))
    assert label_maps_identity(opened(place, ignored=frozenset([2]))) != first
    assert label_maps_identity(Subset(opened(place), np.arange(4))) != first
    kept = SceneFolder(place / "pictures", place / "masks", list("abc"), LabelIds(3), exif="keep")
    assert label_maps_identity(kept) != first  # a turned map has other classes
    Image.new("L", (48, 32)).save(place / "masks" / "3.png")
    changed = label_maps_identity(opened(place))
    assert changed != first
    (place / "pictures" / "3.png").write_bytes(b"no picture")
    assert label_maps_identity(opened(place)) not in (first, changed)
