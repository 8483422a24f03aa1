"""Pictures with masks: pairs, ids and colours, and random views in which both stay together."""

import numpy as np
import pytest
from PIL import Image

from beit.data.class_file import read_classes
from beit.data.mask_ids import CITYSCAPES, MaskIds
from beit.data.photometric import Distortion
from beit.data.scene_folder import SceneFolder
from beit.data.scene_views import SceneViews
from beit.errors import DataError

RNG = np.random.default_rng(0)


def mask_image(array, mode="L"):
    image = Image.fromarray(np.asarray(array, np.uint8))
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    return image


@pytest.mark.parametrize("mode", ["L", "P"])
def test_numbers_are_classes(mode):
    found = MaskIds(4, ignored=frozenset({11})).classes_of(mask_image([[0, 3], [11, 255]], mode), "m")
    np.testing.assert_array_equal(found, [[0, 3], [255, 255]])


def test_reduced_numbers_and_mapped_ones():
    reduced = MaskIds(150, reduce=True).classes_of(mask_image([[0, 1, 150, 255]]), "m")
    np.testing.assert_array_equal(reduced, [[255, 0, 149, 255]])
    streets = MaskIds(19, mapping=CITYSCAPES).classes_of(mask_image([[0, 7, 8, 33, 29, 255]]), "m")
    np.testing.assert_array_equal(streets, [[255, 0, 1, 18, 255, 255]])
    assert len(CITYSCAPES) == 19


def test_colours_are_looked_up(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("road 128 64 128\nside walk 244 35 232\nignored 0 0 0\n")
    named = read_classes(str(file))
    assert named.names == ["road", "side walk"]
    colours = np.array([[[244, 35, 232], [0, 0, 0], [128, 64, 128]]], np.uint8)
    ids = MaskIds(2, colours=named.colours)
    np.testing.assert_array_equal(ids.classes_of(Image.fromarray(colours), "m"), [[1, 255, 0]])
    colours[0, 0] = 1
    with pytest.raises(DataError, match=r"m has the colour \(1, 1, 1\), which is that of no class"):
        ids.classes_of(Image.fromarray(colours), "m")
    with pytest.raises(DataError, match="nothing tells their classes"):
        MaskIds(2).classes_of(Image.fromarray(colours), "m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "names 1 classes; expected 2 to 255"),
        ("a\nb\na\n", "names 'a' twice"),
        ("a 1 2 3\nb\n", "gives colours, but none for 'b'"),
        ("a 1 2 3\nb 1 2 3\n", "one colour to two classes"),
    ],
)
def test_class_files_that_make_no_sense(tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_classes(str(tmp_path / "classes.txt"))


def test_numbers_out_of_range_are_named():
    with pytest.raises(
        DataError, match="m has the number 4, 9; expected 0 to 3, one for each of the 4 classes, or 255"
    ):
        MaskIds(4).classes_of(mask_image([[0, 4], [9, 255]]), "m")


@pytest.fixture
def scenes(tmp_path):
    """Pictures whose red is ten times the class of the pixel, in blocks of 8 pixels."""
    for kind in ("pictures/town", "masks/town"):
        (tmp_path / kind).mkdir(parents=True)
    for number, (height, width) in enumerate([(64, 96), (96, 64), (40, 40)]):
        classes = np.kron(RNG.integers(0, 4, (height // 8, width // 8)), np.ones((8, 8))).astype(np.uint8)
        picture = np.zeros((height, width, 3), np.uint8)
        picture[..., 0] = classes * 60
        Image.fromarray(picture).save(tmp_path / f"pictures/town/{number}_seen.png")
        mask_image(classes).save(tmp_path / f"masks/town/{number}_ids.png")
    return tmp_path


def opened(place, **options):
    suffixes = {"picture_suffix": "_seen", "mask_suffix": "_ids"} | options
    return SceneFolder(place / "pictures", place / "masks", list("abcd"), MaskIds(4), **suffixes)


def test_pairs_are_found_by_what_names_have_in_common(scenes):
    source = opened(scenes)
    assert len(source) == 3
    for index in range(3):
        scene = source.open(index)
        np.testing.assert_array_equal(np.asarray(scene.decode().picture)[..., 0], scene.mask() * 60)


def test_pictures_without_a_mask_are_named(scenes):
    (scenes / "masks/town/1_ids.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 pictures of .* have no mask in .*: town/1;"):
        opened(scenes)
    with pytest.raises(DataError, match=r"3 of 3 pictures .* masks.picture_suffix"):
        opened(scenes, mask_suffix="")


def test_a_mask_of_another_size_is_named(scenes):
    mask_image(np.zeros((64, 90))).save(scenes / "masks/town/0_ids.png")
    with pytest.raises(DataError, match=r"0_ids.png is 64 x 90 pixels and its picture 64 x 96"):
        opened(scenes).open(0).mask()


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
    scene = SceneFolder(tmp_path / "pictures", tmp_path / "masks", ["a", "b"], MaskIds(2)).open(0)

    def largest(one_class):
        views = SceneViews((32, 32), scale=(1.0, 1.0), one_class=one_class, distort=False)
        shares = [
            np.bincount(views(scene, np.random.default_rng(n))["labels"].ravel()).max() / 1024 for n in range(100)
        ]
        return np.mean(np.array(shares) > 0.75)

    assert largest(1.1) > 0.25
    assert largest(0.75) < 0.05


def test_distortion_by_hand():
    picture = Image.fromarray(np.array([[[200, 100, 50], [10, 250, 128]]], np.uint8))
    brighter = np.asarray(Distortion(20.0, None, True, None, None)(picture))
    np.testing.assert_array_equal(brighter, [[[220, 120, 70], [30, 255, 148]]])
    stronger = np.asarray(Distortion(None, 1.5, False, None, None)(picture))
    np.testing.assert_array_equal(stronger, [[[255, 150, 75], [15, 255, 192]]])
    grey = np.asarray(Distortion(None, None, True, 0.0001, None)(picture))
    assert (grey.max(axis=-1) - grey.min(axis=-1)).max() <= 1
    turned = np.asarray(Distortion(None, None, True, None, 1 / 3)(Image.new("RGB", (1, 1), (255, 0, 0))))
    assert np.abs(turned[0, 0].astype(int) - (0, 255, 0)).max() <= 8


def test_each_property_changes_half_of_the_time():
    drawn = [Distortion.draw(np.random.default_rng(seed)) for seed in range(1000)]
    for name in ("brightness", "contrast", "saturation", "hue"):
        values = [getattr(one, name) for one in drawn if getattr(one, name) is not None]
        assert 420 < len(values) < 580
        low, high = {"brightness": (-32, 32), "hue": (-0.1, 0.1)}.get(name, (0.5, 1.5))
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high
