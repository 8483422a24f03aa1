"""Smaller versions of a picture in a TIFF, of any depth and number of bands, in pages and in SubIFDs."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from beit.data import LabelIds
from beit.errors import DataError
from beit.image import BandOptions, allow_pixels, open_image
from beit.image.tiff_pyramid import level_content, levels_of

H, W = 96, 128


def scene(bands=1, dtype=np.uint8, factor=1):
    """Waves of several bands, or the mean of each `factor` x `factor` pixels of them."""
    y, x = np.mgrid[:H, :W] / 30
    waves = np.stack([np.sin(x + band + 1) + np.cos(y * (1 + band)) for band in range(bands)], -1) / 4 + 0.5
    whole = (waves * (np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1)).astype(dtype)
    mean = whole.reshape(H // factor, factor, W // factor, factor, bands).mean((1, 3)).astype(dtype)
    return mean[..., 0] if bands == 1 else mean


def meaning(bands):
    """What tifffile is to write of some bands."""
    colours = {"photometric": "rgb" if bands == 3 else "minisblack", "metadata": None}
    return colours | ({"planarconfig": "contig"} if bands > 1 else {})


def pyramid(bands=1, dtype=np.uint8, inside=True, big=False, order="<", **options):
    """A tiled TIFF with versions of a half and a quarter, inside its directory or in pages behind it."""
    kind = {**meaning(bands), "tile": (16, 16), **options}
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=big, byteorder=order) as writer:
        writer.write(scene(bands, dtype), subifds=2 if inside else 0, **kind)
        for factor in (2, 4):
            writer.write(scene(bands, dtype, factor), subfiletype=1, **kind)
    return file.getvalue()


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(("big", "order"), [(False, "<"), (False, ">"), (True, "<"), (True, ">")])
def test_pages_and_directories_are_found(inside, big, order):
    content = pyramid(inside=inside, big=big, order=order)
    levels = levels_of(content)
    assert [(level.width, level.height) for level in levels] == [(128, 96), (64, 48), (32, 24)]
    for level, factor in zip(levels, (1, 2, 4), strict=True):
        with tifffile.TiffFile(io.BytesIO(level_content(content, level))) as file:
            assert len(file.pages) == 1
            assert np.array_equal(file.pages[0].asarray(), scene(factor=factor))


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("bands", "dtype", "channels"),
    [
        (1, np.uint8, 3),
        (3, np.uint8, 3),
        (1, np.uint16, 3),
        (1, np.uint16, 1),
        (3, np.uint16, 3),
        (4, np.uint16, 4),
        (7, np.uint16, 7),
        (7, np.uint8, 7),
    ],
)
def test_the_smallest_version_that_is_enough_is_read(bands, dtype, channels, inside):
    content, options = pyramid(bands, dtype, inside), BandOptions(channels)
    stored = open_image(content, "a", bands=options)
    assert (stored.height, stored.width) == (H, W)
    for spare, factor in ((1.0, 1), (1.9, 1), (2.0, 2), (3.9, 2), (9.0, 4)):
        decoded = stored.decode(spare)
        assert decoded.extent == (0, 0, W, H)
        assert decoded.picture.size == (W // factor, H // factor)
        single = io.BytesIO()
        tifffile.imwrite(single, scene(bands, dtype, factor), **meaning(bands))
        alone = open_image(single.getvalue(), "a", bands=options).decode().picture
        assert decoded.picture.tobytes() == alone.tobytes()


def test_other_values_are_no_version():
    for options in ({"extratags": [(281, "H", 1, 4095, False)]}, {"extratags": [(274, "H", 1, 6, False)]}):
        file = io.BytesIO()
        kind = {"photometric": "minisblack", "metadata": None}
        with tifffile.TiffWriter(file) as writer:
            writer.write(scene(1, np.uint16), **kind, **options)
            writer.write(scene(1, np.uint16, 2), subfiletype=1, **kind)
        assert levels_of(file.getvalue()) == []
    assert levels_of(pyramid(1, np.float32)) == []  # where values are missing, a smaller version need not show it
    assert levels_of(pyramid(predictor=False)[:-1500]) in ([], levels_of(pyramid()))


def test_the_label_and_the_photograph_of_a_slide_are_no_versions_of_it():
    """Their levels are tiled pages; thumbnail (0), label (1) and photograph (9) are in strips."""
    file, kind = io.BytesIO(), {"photometric": "rgb", "metadata": None, "description": "Aperio Image Library v11"}
    with tifffile.TiffWriter(file) as writer:
        writer.write(scene(3), tile=(16, 16), **kind)
        writer.write(scene(3, factor=4) // 2, **kind)
        writer.write(scene(3, factor=2), tile=(16, 16), **kind)
        writer.write(np.full((24, 32, 3), 9, np.uint8), subfiletype=1, **kind)
        writer.write(np.full((48, 64, 3), 200, np.uint8), subfiletype=9, **kind)
    levels = levels_of(file.getvalue())
    assert [(level.width, level.height) for level in levels] == [(128, 96), (64, 48)]
    shown = open_image(file.getvalue(), "a").decode(9.0).picture
    assert np.array_equal(np.asarray(shown), scene(3, factor=2))


def test_a_photograph_of_another_shape_is_no_version():
    file, kind = io.BytesIO(), {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(file) as writer:
        writer.write(scene(3), **kind)
        writer.write(np.zeros((24, 60, 3), np.uint8), subfiletype=1, **kind)
    assert levels_of(file.getvalue()) == []
    assert open_image(file.getvalue(), "a").decode(4.0).picture.size == (W, H)


def test_a_picture_of_too_many_pixels_is_large_whatever_its_versions():
    allow_pixels(H * W - 2)
    try:
        with pytest.raises(DataError, match="large, not broken"):
            open_image(pyramid(), "a")
    finally:
        allow_pixels(None)


def test_directories_in_a_circle_end():
    content = bytearray(pyramid(inside=False))
    last = levels_of(bytes(content))[-1]
    struct.pack_into("<I", content, last.following, levels_of(bytes(content))[0].directory)
    assert levels_of(bytes(content)) == []


def test_one_page_has_no_versions():
    file = io.BytesIO()
    Image.new("RGB", (20, 24)).save(file, "TIFF")
    assert levels_of(file.getvalue()) == []


def test_label_maps_are_never_reduced(tmp_path):
    """Their versions are made by means or the nearest pixel, which no label map should be read as."""
    labels = np.random.default_rng(0).integers(0, 3, (96, 128), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(labels, subifds=1, **meaning(1))
        writer.write(np.full((48, 64), 2, np.uint8), subfiletype=1, **meaning(1))
    assert np.array_equal(LabelIds(3).read(tmp_path / "a.tif"), labels)


@pytest.mark.parametrize("place", [2**62, 2**63, 2**64 - 1])
def test_a_directory_beyond_all_addresses_has_no_versions(place):
    assert levels_of(struct.pack("<2sHHHQ", b"II", 43, 8, 0, place)) == []
