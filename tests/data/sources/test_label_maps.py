"""Label maps: numbers and colours to classes."""

import re

import numpy as np
import pytest
from PIL import Image

from beit.data import CITYSCAPES, LabelIds, read_classes
from beit.errors import ConfigError, DataError
from tests.data.scenes import mask_image


@pytest.mark.parametrize("mode", ["L", "P"])
def test_numbers_are_classes(mode):
    found = LabelIds(4, ignored=frozenset({11})).classes_of(mask_image([[0, 3], [11, 255]], mode), "m")
    np.testing.assert_array_equal(found, [[0, 3], [255, 255]])


def test_reduced_numbers_and_mapped_ones():
    reduced = LabelIds(150, reduce=True).classes_of(mask_image([[0, 1, 150, 255]]), "m")
    np.testing.assert_array_equal(reduced, [[255, 0, 149, 255]])
    streets = LabelIds(19, mapping=CITYSCAPES).classes_of(mask_image([[0, 7, 8, 33, 29, 255]]), "m")
    np.testing.assert_array_equal(streets, [[255, 0, 1, 18, 255, 255]])
    assert len(CITYSCAPES) == 19


def test_colours_are_looked_up(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("road 128 64 128\nside walk 244 35 232\nignored 0 0 0\n")
    named = read_classes(str(file))
    assert named.names == ["road", "side walk"]
    colours = np.array([[[244, 35, 232], [0, 0, 0], [128, 64, 128]]], np.uint8)
    ids = LabelIds(2, colours=named.colours)
    np.testing.assert_array_equal(ids.classes_of(Image.fromarray(colours), "m"), [[1, 255, 0]])
    colours[0, 0] = 1
    with pytest.raises(DataError, match=r"m has the colour \(1, 1, 1\), which is that of no class"):
        ids.classes_of(Image.fromarray(colours), "m")
    with pytest.raises(DataError, match="their classes are unknown"):
        LabelIds(2).classes_of(Image.fromarray(colours), "m")


VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [7, 8, 9] * 252 + [224, 224, 192]  # the palette: background, two classes, void


@pytest.mark.parametrize(
    ("colours", "rows", "expected"),
    [
        # black stands for no class: the file of classes begins with the second number
        ({(0, 0, 0): 255, (128, 0, 0): 0, (0, 128, 0): 1}, [[0, 1, 2]], [[255, 0, 1]]),
        ({(0, 0, 0): 255, (128, 0, 0): 0, (0, 128, 0): 1}, [[0, 0, 0]], [[255, 255, 255]]),
        ({(0, 0, 0): 255, (128, 0, 0): 0, (0, 128, 0): 1}, [[0, 1, 255]], "0 is the colour (0, 0, 0) of another"),
        # numbers and colours agree, so that what has no colour is read by its number
        ({(0, 0, 0): 0, (128, 0, 0): 1, (0, 128, 0): 2}, [[0, 1, 255]], [[0, 1, 255]]),
        # a palette of other colours holds numbers
        ({(9, 0, 0): 1, (0, 9, 0): 0, (0, 0, 0): 255}, [[0, 1, 255]], [[0, 1, 255]]),
    ],
)
def test_palettes_of_the_classes_are_looked_up_as_a_whole_or_not_at_all(colours, rows, expected):
    image, ids = mask_image(rows, "P"), LabelIds(3, colours=colours)
    image.putpalette(VOC)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=re.escape(expected)):
            ids.classes_of(image, "m")
    else:
        assert ids.classes_of(image, "m").tolist() == expected


def test_numbers_out_of_range_are_named():
    with pytest.raises(
        DataError, match="m has the number 4, 9; expected 0 to 3, one for each of the 4 classes, or 255"
    ):
        LabelIds(4).classes_of(mask_image([[0, 4], [9, 255]]), "m")


def test_no_more_classes_than_label_maps_hold():
    assert LabelIds(255).classes_of(mask_image([[0, 254]]), "m").tolist() == [[0, 254]]
    with pytest.raises(ConfigError, match="there are 256 classes of pixels; expected at most 255"):
        LabelIds(256)
    assert LabelIds(254, reduce=True).classes_of(mask_image([[0, 254, 255]]), "m").tolist() == [[255, 253, 255]]
    with pytest.raises(ConfigError, match="there are 255 classes of pixels; expected at most 254, as 255"):
        LabelIds(255, reduce=True)  # the last of them would be 255


def test_files_of_several_label_maps_are_refused(tmp_path):
    pages = [mask_image([[0, 1], [1, value]]) for value in (0, 1)]
    for ending, options in (("tif", {}), ("gif", {}), ("png", {"format": "PNG"})):
        pages[0].save(tmp_path / f"m.{ending}", save_all=True, append_images=pages[1:], **options)
        with pytest.raises(DataError, match=r"m\..* holds several pictures \(.*\); expected one label map"):
            LabelIds(2).read(tmp_path / f"m.{ending}")
    description = {270: "ImageJ=1.53t\nimages=2\nslices=2\n"}
    pages[0].save(tmp_path / "stack.tif", tiffinfo=description)
    with pytest.raises(DataError, match="holds several pictures"):
        LabelIds(2).read(tmp_path / "stack.tif")
