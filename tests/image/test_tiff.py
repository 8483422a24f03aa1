"""TIFF files of many bands, in one page or several, chunky or in planes."""

import sys

import numpy as np
import pytest

from beit.errors import DataError
from beit.image import bands_beyond_pillow
from tests.image.deep_files import read, tiff
from tests.watchdog import assert_within

RNG = np.random.default_rng(0)
TYPES = {"u1": 255, "u2": 65535, "f4": 1}


def bands(count, dtype):
    values = RNG.random((20, 30, count)) * TYPES[dtype]
    return values.astype(dtype), (values.astype(dtype) / np.float64(TYPES[dtype])).astype(np.float32).transpose(2, 0, 1)


@pytest.mark.parametrize("count", [2, 5, 6, 12, 13])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"compression": "zlib"}, {"bigtiff": True}])
def test_bands_in_one_page_are_read(count, dtype, options):
    values, expected = bands(count, dtype)
    chunky = tiff(values, photometric="minisblack", planarconfig="contig", **options)
    planes = tiff(
        np.ascontiguousarray(values.transpose(2, 0, 1)), photometric="minisblack", planarconfig="separate", **options
    )
    assert np.allclose(read(chunky, count), expected, atol=1e-6)
    assert np.allclose(read(planes, count), expected, atol=1e-6)


def test_bands_in_pages_of_any_type_are_read():
    values = RNG.integers(-500, 500, (5, 20, 30)).astype(np.int16)
    content = tiff(values, photometric="minisblack")
    assert np.allclose(read(content, 5, (-500, 500)), (values + 500) / 1000, atol=1e-6)
    with pytest.raises(DataError, match=r"holds several pictures \(TIFF\); .* data\.frame"):
        read(content, 4, (-500, 500))
    assert np.allclose(read(content, 1, (-500, 500), 3)[0], (values[3] + 500) / 1000, atol=1e-6)


def test_another_number_of_bands_is_named():
    values, _ = bands(13, "u2")
    content = tiff(values, photometric="minisblack", planarconfig="contig")
    for channels in (1, 3, 4, 12):
        with pytest.raises(
            DataError,
            match=rf"scene has 13 channels \(TIFF of uint16\); expected {channels}: .*set data\.channels to 13",
        ):
            read(content, channels)
    with pytest.raises(DataError, match=r"int16 from .* data\.value_range"):
        read(tiff(values.astype(np.int16), photometric="minisblack", planarconfig="contig"), 13)


def test_the_header_says_how_many_bands_there_are(tmp_path, monkeypatch):
    file = tmp_path / "scene.tif"
    for count, expected in ((13, (20, 30, 13, "uint16")), (4, None), (3, None)):
        file.write_bytes(tiff(bands(count, "u2")[0], photometric="minisblack", planarconfig="contig", bigtiff=True))
        assert bands_beyond_pillow(file) == expected
    file.write_bytes(b"no picture")
    assert bands_beyond_pillow(file) is None
    file.write_bytes(tiff(bands(13, "u2")[0], photometric="minisblack", planarconfig="contig"))
    monkeypatch.setattr("beit.image.tiff.find_spec", lambda name: None)
    assert bands_beyond_pillow(file) is None


def test_opacity_beside_bands_is_left_out_or_kept():
    values, expected = bands(6, "u1")
    content = tiff(values, photometric="minisblack", planarconfig="contig", extrasamples=[0, 0, 0, 0, "unassalpha"])
    assert np.allclose(read(content, 5), expected[:5])
    assert np.allclose(read(content, 6), expected)


def test_without_the_extra_the_way_is_named(monkeypatch):
    content = tiff(bands(5, "u1")[0], photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(
        DataError, match=r"scene cannot be read here; .* the library 'tifffile' .* pip install -e '\.\[tiff\]'"
    ):
        read(content, 5)


def test_compressions_of_other_libraries_are_refused_with_the_way():
    content = bytearray(tiff(bands(5, "u1")[0], photometric="minisblack", planarconfig="contig", compression="zlib"))
    at = content.index((259).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    content[at + 8 : at + 10] = (5).to_bytes(2, "little")  # LZW
    try:
        import imagecodecs  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(DataError, match=r"compressed \(LZW\).*pip install imagecodecs"):
            read(bytes(content), 5)


def test_pages_that_go_round_in_a_circle_end():
    values = bands(5, "u1")[0]
    content = bytearray(tiff(values, photometric="minisblack", planarconfig="contig"))
    first = int.from_bytes(content[4:8], "little")
    entries = int.from_bytes(content[first : first + 2], "little")
    after = first + 2 + 12 * entries
    content[after : after + 4] = content[4:8]  # the page after the first is the first
    with assert_within(20, 2000):
        assert len(read(bytes(content), 5)) == 5


def test_a_page_without_rows_is_named():
    content = bytearray(tiff(bands(5, "u1")[0], photometric="minisblack", planarconfig="contig"))
    at = next(content.index((257).to_bytes(2, "little") + kind.to_bytes(2, "little")) for kind in (4, 3)
              if (257).to_bytes(2, "little") + kind.to_bytes(2, "little") in content)  # fmt: skip
    content[at + 8 : at + 12] = bytes(4)
    with pytest.raises(DataError, match="without pixels"):
        read(bytes(content), 5)


@pytest.mark.parametrize("end", [8, 60, 200, 900])
def test_damaged_files_are_named(end):
    content = tiff(bands(5, "u1")[0], photometric="minisblack", planarconfig="contig", compression="zlib")
    with pytest.raises(DataError, match="scene"):
        read(content[:end], 5)


def test_volumes_and_garbage_are_refused_in_words(caplog):
    volume = tiff(np.zeros((4, 20, 30), np.uint8), volumetric=True, photometric="minisblack")
    for channels in (1, 3, 4):
        with pytest.raises(DataError, match=r"scene is a TIFF of ZYX, .*; expected rows, columns and bands: split it"):
            read(volume, channels)
    with pytest.raises(DataError, match="scene is not a picture that can be read"):
        read(b"II*\0garbage", 3)
    with pytest.raises(DataError, match="13 channels"):
        read(tiff(bands(13, "f4")[0], photometric="minisblack", planarconfig="contig"), 3)
    assert not caplog.records


def stack_behind_one_page(planes, **metadata):
    """Return a stack as ImageJ writes large ones: the planes behind the only page, which a description counts."""
    description = f"ImageJ=1.53t\nimages={metadata.pop('images', len(planes))}\nslices={len(planes)}\nloop=false\n"
    first = tiff(planes[0], description=description, metadata=None, **metadata)
    order = metadata.get("byteorder", "<")
    return first + planes[1:].astype(planes.dtype.newbyteorder(order)).tobytes()


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_planes_behind_one_page_are_found(byteorder):
    values = RNG.integers(0, 65535, (6, 20, 30)).astype(np.uint16)
    content = stack_behind_one_page(values, byteorder=byteorder)
    for channels in (1, 3):
        with pytest.raises(DataError, match=r"several pictures \(TIFF of ImageJ\); .* data\.frame"):
            read(content, channels)
    assert np.allclose(read(content, 6), values / 65535, atol=1e-6)
    assert np.allclose(read(content, 1, frame=4)[0], values[4] / 65535, atol=1e-6)
    with pytest.raises(DataError, match=r"holds 6 pictures, and data\.frame is 6"):
        read(content, 1, frame=6)


def test_planes_that_are_not_there_are_named():
    values = RNG.integers(0, 65535, (6, 20, 30)).astype(np.uint16)
    for content in (stack_behind_one_page(values)[:-1], stack_behind_one_page(values, images=999999999)):
        with assert_within(5, 500), pytest.raises(DataError, match=r"planes and does not hold them"):
            read(content, 1, frame=0)


def test_coloured_planes_are_chosen_by_number():
    values = RNG.integers(0, 255, (2, 20, 30, 3)).astype(np.uint8)
    content = stack_behind_one_page(values, photometric="rgb")
    assert np.allclose(read(content, 3, frame=1), values[1].transpose(2, 0, 1) / 255)
