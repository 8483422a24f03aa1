"""A JPEG is decoded at the size that its crop needs, and shows the same as if it were decoded whole."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from beit.data import AffineRange, Augmentation, Views
from beit.errors import DataError
from beit.image import LoadedPicture, Preprocessing, open_image, read_image
from beit.image.lazy_picture import JpegPicture

ORIENTATION = 0x0112


SHIFTS = [(1, 0, 1, 0), (0, 1, 0, 1)]


VIEWS = Views(Preprocessing((24, 24), (28, 28)), Augmentation(crop_scale=(0.5, 1.0)), (12, 12))
TURNED = replace(VIEWS, augmentation=Augmentation(crop_scale=(0.15, 0.25), affine=AffineRange(20, 0.2, 0.05)))


def smooth(height=437, width=501):
    """Waves without symmetry, in sizes that no reduction divides."""
    y, x = np.mgrid[:height, :width] / 100
    waves = [np.sin(1 + 1.7 * x + 0.6 * y), np.cos(0.9 * x - 1.4 * y), np.sin(0.3 + 0.5 * x * y)]
    return Image.fromarray((127.5 + 100 * np.stack(waves, -1)).astype(np.uint8))


def encoded(picture, orientation=1, kind="JPEG"):
    exif, file = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = orientation
    picture.save(file, kind, exif=exif, **({"quality": 98, "subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_picture_shows_the_same_crop(orientation):
    content = encoded(smooth(), orientation)
    stored, whole = open_image(content, "x"), read_image(content)
    assert isinstance(stored, JpegPicture)
    assert (stored.height, stored.width) == (whole.height, whole.width)
    for seed in range(20):
        reduced = VIEWS(stored, np.random.default_rng(seed))
        full = VIEWS(LoadedPicture(whole), np.random.default_rng(seed))
        for name, values in full.items():
            difference = np.abs(reduced[name] - values) * (0.5 if name == "pixel_values" else 1)
            assert difference.mean() < 0.004, (name, seed)  # a box that is off by 3 pixels of 500 would give 0.008
            assert difference.max() < 0.03, (name, seed)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_picture_is_turned_alike(orientation):
    """Most pixels agree; those beyond the edges may be mirrored at the end of the decoder's last block."""
    content = encoded(smooth(), orientation)
    stored, whole = open_image(content, "x"), LoadedPicture(read_image(content))
    for seed in range(10):
        reduced, full = (TURNED(picture, np.random.default_rng(seed)) for picture in (stored, whole))
        for name, values in full.items():
            difference = np.abs(reduced[name] - values) * (0.5 if name == "pixel_values" else 1)
            assert np.median(difference) < 0.009, (name, seed)  # two levels of grey: both results are cut off


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_pixels_lie_where_they_are_said_to(orientation, reduction):
    content = encoded(smooth(), orientation)
    whole, decoded = read_image(content), open_image(content, "x").decode(reduction)
    assert decoded.picture.width == -(-whole.width // reduction)
    box = (100.0, 60.0, 340.0, 380.0)

    def cut(picture, box):
        return np.asarray(picture.resize((30, 40), Image.Resampling.BICUBIC, box=box), dtype=float)

    flipped, mirror = decoded.mirrored(whole.width), whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for ours, theirs in ((decoded, whole), (flipped, mirror)):
        error = np.abs(cut(ours.picture, ours.box(box)) - cut(theirs, box)).mean()
        beside = [np.abs(cut(theirs, tuple(np.add(box, shift))) - cut(theirs, box)).mean() for shift in SHIFTS]
        assert error < min(beside), "off by less than a pixel of the whole picture"


def test_the_crop_keeps_at_least_the_pixels_of_the_largest_view(monkeypatch):
    asked = []
    monkeypatch.setattr(Image.Image, "draft", lambda *_: None)
    stored = open_image(encoded(smooth()), "x")
    decode = stored.decode
    monkeypatch.setattr(stored, "decode", lambda spare: asked.append(spare) or decode(1))
    for seed in range(30):
        rng = np.random.default_rng(seed)
        box = VIEWS.augmentation.draw(stored.height, stored.width, np.random.default_rng(seed)).box
        VIEWS(stored, rng)
        assert asked[-1] == min((box[2] - box[0]) / 24, (box[3] - box[1]) / 24)


@pytest.mark.parametrize(("spare", "reduction"), [(0.7, 1), (1.99, 1), (2, 2), (3.9, 2), (4, 4), (7.9, 4), (50, 8)])
def test_reductions(spare, reduction):
    picture = open_image(encoded(smooth(437, 501)), "x").decode(spare).picture
    assert picture.size == (-(-501 // reduction), -(-437 // reduction))


def test_a_tiny_jpeg_is_not_reduced_to_nothing():
    for side in range(1, 20):
        stored = open_image(encoded(smooth(side, side)), "x")
        assert min(stored.decode(100).picture.size) >= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_other_formats_are_unchanged_bit_for_bit(kind):
    content = encoded(smooth(80, 90), 6, kind)
    stored, whole = open_image(content, "x"), read_image(content)
    assert (stored.height, stored.width) == (whole.height, whole.width)
    assert np.array_equal(stored.decode(8).picture, whole)


def test_evaluation_sees_the_whole_picture():
    content = encoded(smooth(), 8)
    plain = Views(VIEWS.preprocessing, None, VIEWS.tokenizer_hw)
    ours, whole = plain(open_image(content, "x"), None), plain(LoadedPicture(read_image(content)), None)
    assert all(np.array_equal(ours[name], whole[name]) for name in whole)


def test_an_error_is_raised_when_it_is_met():
    content = encoded(smooth())
    with pytest.raises(DataError, match="x is 437 x 501 pixels; expected at least 500"):
        open_image(content, "x", min_side=500)
    cut = open_image(content[: len(content) // 2], "x")
    with pytest.raises(DataError, match="x is broken"):
        cut.decode(8)
