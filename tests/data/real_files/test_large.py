"""Large pictures, and TIFF files with overviews, masks and pages."""

import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image

from beit.errors import DataError
from beit.image import allow_pixels, open_image, read_image
from beit.image.input_types import to_picture
from beit.settings.groups import PictureSettings
from beit.settings.inputs import open_pictures
from tests.image import deep_files

SUBFILE, DESCRIPTION = 254, 270


@pytest.fixture(autouse=True)
def limit():
    with warnings.catch_warnings():
        yield
        allow_pixels(None)


def pages(path, *kinds, description=None):
    """A TIFF with a page of each kind; the first is 64 x 48, and each has its number as its grey."""
    images = [Image.new("RGB", (64 >> at, 48 >> at), (at + 1, 0, 0)) for at in range(len(kinds))]
    options = {DESCRIPTION: description} if description else {}
    for image, kind in zip(images, kinds, strict=True):
        image.encoderinfo = {"tiffinfo": {SUBFILE: kind, **options}}
    images[0].save(path, tiffinfo={SUBFILE: kinds[0], **options}, save_all=True, append_images=images[1:])
    return path


@pytest.mark.parametrize("kinds", [(0, 1), (0, 1, 1), (0, 4), (0, 5, 1)])
def test_overviews_and_masks_are_no_further_pictures(tmp_path, kinds):
    path = pages(tmp_path / "a.tif", *kinds)
    for picture in (read_image(path), open_image(path.read_bytes(), "a").decode().picture):
        assert picture.size == (64, 48)
        assert picture.getpixel((0, 0)) == (1, 0, 0)
    with Image.open(path) as image:
        assert to_picture(image, None).content.getpixel((0, 0)) == (1, 0, 0)


def test_the_smallest_overview_that_is_enough_is_decoded(tmp_path):
    stored = open_image(pages(tmp_path / "a.tif", 0, 1, 1).read_bytes(), "a")
    for pixels, size, grey in (
        (1, (64, 48), 1),
        (1.9, (64, 48), 1),
        (2, (32, 24), 2),
        (3.9, (32, 24), 2),
        (9, (16, 12), 3),
    ):
        decoded = stored.decode(pixels)
        assert (decoded.picture.size, decoded.picture.getpixel((0, 0))) == (size, (grey, 0, 0))
        assert decoded.box((16, 12, 64, 48)) == (size[0] / 4, size[1] / 4, *size)
    cut = open_image(pages(tmp_path / "b.tif", 0, 5, 1).read_bytes(), "b")  # the first is of a mask
    assert cut.decode(2).picture.size == (64, 48)


def test_pages_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds several pictures \(TIFF\)"):
        read_image(pages(tmp_path / "a.tif", 0, 1, 0))


def test_a_page_is_chosen_by_its_number(tmp_path):
    path = pages(tmp_path / "a.tif", 0, 1, 0)
    source = open_pictures(PictureSettings(str(tmp_path), frame=2))
    assert source.load(0).getpixel((0, 0)) == (3, 0, 0)
    with pytest.raises(
        DataError, match=r"a\.tif holds 3 pictures, and data\.frame is 3; expected a number from 0 to 2"
    ):
        open_pictures(PictureSettings(str(tmp_path), frame=3)).load(0)
    frames = [Image.new("RGB", (16, 16), (number * 100, 0, 0)) for number in range(3)]
    path.with_suffix(".tif").unlink()
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    assert source.bands == open_pictures(PictureSettings(str(tmp_path), frame=2)).bands
    assert open_pictures(PictureSettings(str(tmp_path), frame=2)).load(0).getpixel((0, 0)) == (200, 0, 0)
    with pytest.raises(DataError, match=r"b\.gif holds several pictures \(GIF\); .* with data\.frame"):
        open_pictures(PictureSettings(str(tmp_path))).load(0)


def test_slides_hold_one_picture(tmp_path):
    path = pages(tmp_path / "a.tif", 0, 0, 9, description="Aperio Image Library v11")
    assert read_image(path).size == (64, 48)


def test_a_large_picture_is_not_broken_and_can_be_allowed(tmp_path):
    for name in ("a.png", "b.jpg"):
        Image.fromarray(np.zeros((100, 120, 3), np.uint8)).save(tmp_path / name)
    small = open_pictures(PictureSettings(str(tmp_path), max_pixels=10_000))
    for index in range(2):
        with pytest.raises(DataError, match=r"is large, not broken: .* 10,000 pixels; .* raise data\.max_pixels"):
            small.load(index)
    with pytest.raises(DataError, match="is large, not broken"):
        read_image(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_pictures(PictureSettings(str(tmp_path), max_pixels=12_000))
        assert [source.load(index).size for index in range(2)] == [(120, 100)] * 2


def test_deep_grey_that_is_shown_as_colours_is_computed_once():
    pixels = np.random.default_rng(0).integers(0, 2**16, (800, 1000), np.uint16)
    content = deep_files.tiff(pixels, photometric="minisblack")
    tracemalloc.start()
    picture = open_image(content, "a").decode().picture
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 32 * pixels.size  # 100 bytes a pixel, where each of three channels was
    np.testing.assert_allclose(picture.unit_array(), np.stack([pixels / 65535] * 3), atol=1e-6)
