"""Pictures with label maps."""

import numpy as np
import pytest
from PIL import Image

from beit.errors import DataError, GoneError
from tests.data.scenes import mask_image, opened


def test_pairs_are_found_by_what_names_have_in_common(scenes):
    source = opened(scenes)
    assert len(source) == 3
    for index in range(3):
        scene = source.open(index)
        np.testing.assert_array_equal(np.asarray(scene.decode().picture)[..., 0], scene.label_map() * 60)


def test_pictures_without_a_label_map_are_named(scenes):
    (scenes / "masks/town/1_ids.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 pictures of .* have no label map in .*: town/1;"):
        opened(scenes)
    with pytest.raises(
        DataError, match=r"3 of 3 pictures .* label_maps.suffix, of which 'town/0_ids' would have '_ids'"
    ):
        opened(scenes, map_suffix="")


def test_a_label_map_that_has_gone_since_is_no_broken_one(scenes):
    scene = opened(scenes).open(0)
    (scenes / "masks/town").rename(scenes / "masks/away")
    with pytest.raises(GoneError, match=r"0_ids\.png was there when it was listed and cannot be read any more"):
        scene.label_map()


def test_a_label_map_of_another_size_is_named(scenes):
    mask_image(np.zeros((64, 90))).save(scenes / "masks/town/0_ids.png")
    with pytest.raises(DataError, match=r"0_ids.png is 64 x 90 pixels and its picture 64 x 96"):
        opened(scenes).open(0).label_map()


@pytest.mark.parametrize("ending", ["tif", "png"])
@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("both", [False, True])
def test_label_maps_are_turned_like_their_pictures_in_any_format(tmp_path, ending, orientation, both):
    """Once: some programs give a label map the orientation of its picture."""
    stored, exif = np.arange(48 * 48).reshape(48, 48) % 5 % 4, Image.Exif()
    exif[0x0112] = orientation
    for name, image, options in (
        (f"pictures/a.{ending}", mask_image(stored * 60).convert("RGB"), {"exif": exif}),
        ("masks/a.png", mask_image(stored), {"exif": exif} if both else {}),
    ):
        (tmp_path / name).parent.mkdir()
        image.save(tmp_path / name, **options)
    scene = opened(tmp_path, picture_suffix="", map_suffix="").open(0)
    np.testing.assert_array_equal(np.asarray(scene.decode().picture)[..., 0], scene.label_map() * 60)


def test_a_sample_follows_the_label_maps(scenes):
    before = opened(scenes).sampled(9)
    assert len(before) == 3
    mask_image(np.zeros((64, 96))).save(scenes / "masks/town/0_ids.png")
    assert [one == other for one, other in zip(opened(scenes).sampled(9), before, strict=True)] == [False, True, True]
