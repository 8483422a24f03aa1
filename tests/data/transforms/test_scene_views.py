"""Random views in which a picture and its label map stay together."""

import numpy as np
import pytest
from PIL import Image

from beit.data import LabelIds, SceneFolder, SceneViews
from tests.data.scenes import mask_image, opened


@pytest.mark.parametrize("shorter_side", [None, 48])
def test_a_view_keeps_picture_and_mask_together(scenes, shorter_side):
    source = opened(scenes)
    views = SceneViews((48, 64), shorter_side=shorter_side, distort=False)
    agreeing = pixels = 0
    for number in range(60):
        view = views(source.open(number % 3), np.random.default_rng(number))
        assert view["pixel_values"].shape == (3, 48, 64)
        labels = view["labels"]
        assert labels.shape == (48, 64)
        inside = labels != 255
        red = (view["pixel_values"][0] * 0.5 + 0.5) * 255 / 60
        agreeing += (np.rint(red)[inside] == labels[inside]).sum()
        pixels += inside.sum()
        assert (view["pixel_values"][:, ~inside] == 0).all(), "padding is 0 after normalising, and ignored"
    # only pixels between two blocks are blends
    assert agreeing / pixels > 0.85


def test_crops_of_one_class_are_drawn_again(tmp_path):
    for kind in ("pictures", "masks"):
        (tmp_path / kind).mkdir()
    classes = np.zeros((64, 64), np.uint8)
    classes[:, 44:] = 1
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "pictures/a.png")
    mask_image(classes).save(tmp_path / "masks/a.png")
    scene = SceneFolder(tmp_path / "pictures", tmp_path / "masks", ["a", "b"], LabelIds(2)).open(0)

    def largest(one_class):
        views = SceneViews((32, 32), scale=(1.0, 1.0), one_class=one_class, distort=False)
        shares = [
            np.bincount(views(scene, np.random.default_rng(n))["labels"].ravel()).max() / 1024 for n in range(100)
        ]
        return np.mean(np.array(shares) > 0.75)

    assert largest(1.1) > 0.25
    assert largest(0.75) < 0.05
