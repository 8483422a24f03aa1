"""JPEG 2000 is decoded at the size that a crop needs, and shows the same as if it were decoded whole."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from beit.data import LabelIds
from beit.image import open_image, read_image
from beit.image.jpeg_2000 import halvings
from tests.data.transforms.test_reduced_jpeg import SHIFTS, smooth


def encoded(picture, **options):
    file = io.BytesIO()
    picture.save(file, "JPEG2000", **options)
    return file.getvalue()


@pytest.mark.parametrize("no_jp2", [True, False])
@pytest.mark.parametrize(("resolutions", "count"), [(1, 0), (3, 2), (6, 5)])
def test_how_often_it_can_be_halved(no_jp2, resolutions, count):
    content = encoded(smooth(), no_jp2=no_jp2, num_resolutions=resolutions)
    assert halvings(content) == count
    assert halvings(encoded(smooth(), no_jp2=no_jp2, num_resolutions=resolutions, tile_size=(128, 128))) == count


@pytest.mark.parametrize("irreversible", [True, False])
@pytest.mark.parametrize(("height", "reduction"), [(433, 2), (436, 8), (437, 2), (437, 8), (440, 4), (439, 4)])
def test_reduced_pixels_lie_where_they_are_said_to(height, reduction, irreversible):
    content = encoded(smooth(height, 500), irreversible=irreversible)
    whole, decoded = read_image(content), open_image(content, "x").decode(reduction)
    assert decoded.picture.size == (-(-500 // reduction), -(-height // reduction))
    box = (100.0, 60.0, 340.0, 380.0)

    def cut(picture, box):
        return np.asarray(picture.resize((30, 40), Image.Resampling.BICUBIC, box=box), dtype=float)

    flipped, mirror = decoded.mirrored(whole.width), whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for ours, theirs in ((decoded, whole), (flipped, mirror)):
        error = np.abs(cut(ours.picture, ours.box(box)) - cut(theirs, box)).mean()
        moved = [ours.box(tuple(np.add(box, shift))) for shift in SHIFTS + [tuple(np.negative(one)) for one in SHIFTS]]
        assert error < min(np.abs(cut(ours.picture, beside) - cut(theirs, box)).mean() for beside in moved)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_every_size_is_read(reduction):
    """Pillow expects rounded sizes, and the decoder gives those that are rounded up: where they differ it is halved."""
    for side in range(32, 64):
        decoded = open_image(encoded(smooth(side, 80)), "x").decode(reduction)
        assert decoded.picture.height in {-(-side // divisor) for divisor in (1, 2, 4, 8) if divisor <= reduction}
        left, top, right, bottom = decoded.extent
        assert max(left, top) <= 0
        assert min(right - 80, bottom - side) >= -4
    assert open_image(encoded(smooth(433, 500)), "x").decode(4).picture.size == (250, 217)


def test_no_more_is_left_out_than_it_has():
    stored = open_image(encoded(smooth(), num_resolutions=2), "x")
    assert stored.decode(8.0).picture.size == (251, 219)
    assert open_image(encoded(smooth(), num_resolutions=1), "x").decode(8.0).picture.size == (501, 437)


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_damage_counts_as_none(cut):
    content = encoded(smooth(40, 50), num_resolutions=3)
    assert halvings(content[:cut]) in (0, 2)
    assert halvings(content[:cut] + b"\0" * 9 + content[cut:]) in (0, 2)


def test_label_maps_are_never_reduced(tmp_path):
    """The finest pixels of a label map are its classes, whatever its picture is shown at."""
    labels = np.random.default_rng(0).integers(0, 3, (64, 80), np.uint8)
    Image.fromarray(labels).save(tmp_path / "a.jp2", irreversible=False)
    assert np.array_equal(LabelIds(3).read(tmp_path / "a.jp2"), labels)


def test_a_box_beyond_all_addresses_is_damage():
    start = b"\0\0\0\x0cjP  \r\n\x87\n"
    assert halvings(start + struct.pack(">I4sQ", 1, b"free", 2**64 - 1)) == 0
