"""Kept pictures are those of their source, to the bit, and broken ones are as broken."""

import pickle

import numpy as np
import pytest
from PIL import Image

from beit.data import (
    Augmentation,
    KeptPictures,
    ViewDataset,
    Views,
    decoded_bytes,
    open_source,
    split,
    training_batches,
)
from beit.data.broken import BrokenPicture
from beit.data.loader import Collate
from beit.data.sources.source import fingerprint
from beit.errors import DataError
from beit.image import Preprocessing

MUCH = 2**30


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for number in range(24):
        place = tmp_path / "pictures" / ("cat", "dog")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (40 + number, 70 - number, 3), dtype=np.uint8))
        exif = picture.getexif()
        exif[0x0112] = 1 + number % 8 if number < 20 else 300  # which is none
        picture.save(place / f"{number:02d}.{'jpg' if number % 3 else 'png'}", exif=exif)
    (tmp_path / "pictures" / "cat" / "99.png").write_bytes(b"no picture")
    return open_source(str(tmp_path / "pictures"))


@pytest.mark.parametrize("side", [8, 32])
def test_views_have_the_same_bits(source, side):
    """A JPEG that is shown small is decoded smaller, in other pixels than those that are kept."""
    train, _ = split(source, 0.2, seed=0)
    views = Views(Preprocessing((side, side), side), Augmentation(color_jitter=0.4))
    kept = KeptPictures(train, MUCH)
    plain, ours = (ViewDataset(pictures, views, 3, replace_broken=True) for pictures in (train, kept))
    for epoch in (0, 1):
        for index in range(len(train)):
            wanted, found = plain[epoch, index], ours[epoch, index]
            assert np.array_equal(wanted.views["pixel_values"], found.views["pixel_values"])
            assert (wanted.position, wanted.label, wanted.broken) == (found.position, found.label, found.broken)
    assert fingerprint(kept) == fingerprint(train)


def test_it_is_its_source_in_everything_else(source):
    kept = KeptPictures(source, MUCH)
    assert len(kept) == len(source) == 25
    assert (kept.classes, kept.label_kind, kept.look_ahead) == (["cat", "dog"], "class", 0)
    assert np.array_equal(kept.labels, source.labels)
    assert [kept.name(index) for index in range(25)] == [source.name(index) for index in range(25)]
    assert [kept.open(index).orientation for index in range(12)] == [
        source.open(index).orientation for index in range(12)
    ]
    assert kept.longest_side == 70
    assert kept.fetch([0], [1]) is None
    assert pickle.loads(pickle.dumps(kept)).open(3).decode().picture.tobytes() == kept.load(3).tobytes()  # noqa: S301


def test_a_broken_picture_is_reported_as_ever(source):
    kept, views = KeptPictures(source, MUCH), Views(Preprocessing((8, 8), 8))
    [bad] = [index for index in range(25) if kept.name(index).endswith("99.png")]
    with pytest.raises(DataError, match=r"99\.png"):
        kept.open(bad)
    assert isinstance(ViewDataset(kept, views, 0, replace_broken=False)[0, bad], BrokenPicture)


def test_deep_pictures_and_overviews_are_decoded_anew(source, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    place = tmp_path / "pictures" / "cat"
    tifffile.imwrite(place / "97.tif", np.full((20, 24, 3), 40_000, np.uint16), photometric="rgb")
    small = Image.new("RGB", (24, 20))
    Image.new("RGB", (48, 40)).save(place / "98.tif", save_all=True, append_images=[small])
    kept = KeptPictures(open_source(str(tmp_path / "pictures")), MUCH)
    assert kept.unkept >= 1
    [deep] = [index for index in range(len(kept)) if kept.name(index).endswith("97.tif")]
    assert not isinstance(kept.open(deep).decode().picture, Image.Image)


def test_memory_is_counted_and_bounded(source):
    kept = KeptPictures(source, MUCH)
    assert kept.nbytes == sum(picture.height * picture.width * 3 for picture in map(kept.open, range(12))) + sum(
        kept.open(index).height * kept.open(index).width * 3 for index in range(13, 25)
    )
    assert decoded_bytes(source) == pytest.approx(kept.nbytes, rel=0.1)
    with pytest.raises(MemoryError, match="more than 20,000 bytes"):
        KeptPictures(source, 20_000)


@pytest.mark.e2e
def test_workers_share_it(source):
    kept, views = KeptPictures(source, MUCH), Views(Preprocessing((8, 8), 8), Augmentation())
    order = [[(0, index) for index in range(first, first + 6)] for first in (0, 6)]
    alone, two = (
        list(training_batches(ViewDataset(kept, views, 1, replace_broken=True), order, Collate(1), workers))
        for workers in (0, 2)
    )
    assert all(
        np.array_equal(one.tensors["pixel_values"], other.tensors["pixel_values"])
        for one, other in zip(alone, two, strict=True)
    )


def test_jpeg_2000_is_kept_as_it_is_decoded(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jp2")
    plain = open_source(str(tmp_path))
    kept = KeptPictures(plain, MUCH)
    assert kept.unkept == 0
    for spare in (1.0, 2.0, 4.0):
        ours, wanted = (one.open(0).decode(spare) for one in (kept, plain))
        assert (ours.extent, ours.picture.tobytes()) == (wanted.extent, wanted.picture.tobytes())
