"""Grey keeps its depth, RGBA its fourth channel, arrays all of theirs; everything else is refused in words."""

import io
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from beit.errors import DataError
from beit.image import BandOptions, open_image, to_unit_array
from tests.data.real_files.test_extra_formats import dicom

RNG = np.random.default_rng(0)


def image(pixels, mode=None, form="PNG"):
    buffer = io.BytesIO()
    made = Image.fromarray(pixels)
    (made.convert(mode) if mode else made).save(buffer, format=form)
    return buffer.getvalue()


def array(values, save=np.save):
    buffer = io.BytesIO()
    save(buffer, values)
    return buffer.getvalue()


def read(content, channels, value_range=None):
    return to_unit_array(open_image(content, "scene", 1, BandOptions(channels, value_range)).decode().picture)


def test_grey_keeps_its_depth():
    deep = RNG.integers(0, 65536, (9, 7)).astype(np.uint16)
    assert np.array_equal(read(image(deep), 1)[0], (deep / 65535).astype(np.float32))
    shallow = RNG.integers(0, 256, (9, 7), np.uint8)
    for mode in (None, "LA", "RGB"):  # grey that was saved in colours is grey
        assert np.array_equal(read(image(shallow, mode), 1)[0], shallow / np.float32(255))


def test_scans_keep_their_depth_and_their_unit(tmp_path):
    stored = np.arange(0, 4096, 8).reshape(16, 32)  # 512 values of 12 bits, twice as many as 8 bits hold
    path = dicom(tmp_path / "a.dcm", stored, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=0, WindowWidth=201)
    hounsfield = stored - 1024
    window = ((hounsfield + 100.5) / 200).clip(0, 1)
    np.testing.assert_allclose(read(path.read_bytes(), 1)[0], window, atol=1e-6)
    lungs = read(path.read_bytes(), 1, (-1000, 400))[0]
    np.testing.assert_allclose(lungs, ((hounsfield + 1000) / 1400).clip(0, 1), atol=1e-6)
    assert len(np.unique(lungs)) > 150
    negative = dicom(tmp_path / "b.dcm", stored, PhotometricInterpretation="MONOCHROME1").read_bytes()
    np.testing.assert_allclose(read(negative, 1)[0], 1 - stored / 4095, atol=1e-6)


def test_frames_and_pages_are_channels(tmp_path):
    deep = RNG.integers(0, 4096, (5, 16, 12))
    frames = dicom(tmp_path / "a.dcm", deep, NumberOfFrames=5).read_bytes()
    np.testing.assert_allclose(read(frames, 5), deep / 4095, atol=1e-6)
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(page.astype(np.uint16)) for page in deep]
    first.save(buffer, format="TIFF", save_all=True, append_images=others)
    np.testing.assert_allclose(read(buffer.getvalue(), 5, (0, 4095)), deep / 4095, atol=1e-6)
    with pytest.raises(DataError, match=r"scene holds several pictures \(5 frames of DICOM\); .* with data\.frame"):
        read(frames, 4)
    with pytest.raises(
        DataError, match=r"scene has 1 channel \(grey\); expected 2: .*, or set data\.channels to 1 for a"
    ):
        read(dicom(tmp_path / "b.dcm", deep[0]).read_bytes(), 2)
    with pytest.raises(DataError, match="scene holds several pictures"):
        read(buffer.getvalue(), 4)
    buffer = io.BytesIO()
    first.save(buffer, format="TIFF", save_all=True, append_images=[others[0].resize((6, 8))])
    with pytest.raises(
        DataError, match="scene has pages of 16 x 12 and 8 x 6 pixels; expected one size, as of channels"
    ):
        read(buffer.getvalue(), 2)


def test_a_range_says_what_0_and_1_are_but_for_8_bits():
    deep = np.array([[0, 1000], [3000, 60000]], np.uint16)
    assert read(image(deep), 1, (1000, 3000)).tolist() == [[[0, 0], [1, 1]]]
    assert read(array(deep), 1, (0, 4000)).tolist() == [[[0, 0.25], [0.75, 1]]]
    shallow = np.array([[0, 255]], np.uint8)
    assert read(image(shallow), 1, (0, 4000)).tolist() == [[[0, 1]]]


def test_the_fourth_channel_is_kept():
    pixels = RNG.integers(0, 256, (9, 7, 4), np.uint8)
    assert np.array_equal(read(image(pixels), 4), pixels.transpose(2, 0, 1) / np.float32(255))


@pytest.mark.parametrize("save", [np.save, np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("dtype", "most"), [("u1", 255), ("<u2", 65535), (">u2", 65535), ("f4", 1)])
def test_arrays_of_bands(save, order, dtype, most):
    values = np.asarray(RNG.random((9, 7, 12)) * most, dtype, order=order)
    assert np.array_equal(read(array(values, save), 12), (values / np.float64(most)).astype("f4").transpose(2, 0, 1))


def test_a_grey_array_needs_no_third_axis():
    assert read(array(np.eye(5, dtype=np.float32)), 1).shape == (1, 5, 5)


@pytest.mark.parametrize(
    ("content", "channels", "words"),
    [
        (array(np.zeros((12, 9, 7), np.uint8)), 12, r"expected \(height, width, 12\).*moveaxis"),
        (array(np.zeros((9, 7, 3), np.uint8)), 4, "set data.channels"),
        (array(np.zeros((0, 7, 4), np.uint8)), 4, "shape"),
        (array(np.zeros((9, 7, 4), complex)), 4, "array of complex128; expected whole or real"),
        (array(np.full((9, 7, 1), np.nan, np.float32)), 1, "NaN"),
        (array(np.full((9, 7, 1), 3, np.float32)), 1, "from 3 to 3.*data.value_range"),
        (array(np.full((9, 7, 1), 3, np.int16)), 1, "int16.*data.value_range"),
        (array(np.zeros((9, 7, 4), np.uint8))[:-9], 4, "broken"),
        (image(np.zeros((9, 7, 3), np.uint8)), 4, r"3 channels \(RGB\); expected 4.*\.npy"),
        (image(np.full((9, 7, 3), [1, 2, 3], np.uint8)), 1, r"3 channels \(RGB\); expected 1.*grey"),
        (image(np.zeros((9, 7), np.uint8)), 12, r"1 channel \(L\); expected 12"),
        (b"\x93NUMPY", 4, "broken"),
        (b"PK\x03\x04", 4, "broken"),
        (b"text", 1, "not a picture"),
    ],
)
def test_everything_else_is_refused_in_words(content, channels, words):
    with pytest.raises(DataError, match=f"(?s)scene.*{words}"):
        read(content, channels)


def test_nothing_is_unpickled(tmp_path):
    class Attack:
        def __reduce__(self):
            return open, (str(tmp_path / "made"), "w")

    buffer = io.BytesIO()
    np.save(buffer, np.array([[Attack()]], dtype=object), allow_pickle=True)
    for content in (buffer.getvalue(), pickle.dumps(Attack())):
        with pytest.raises(DataError):
            read(content, 1)
    assert not (tmp_path / "made").exists()


def test_what_a_library_quotes_of_a_file_is_cut():
    content = bytearray(array(np.random.default_rng(0).integers(0, 256, (40, 40, 4), np.uint8), np.savez))
    content[26:28] = (4000).to_bytes(2, "little")  # the length of the name in the header, which the message repeats
    with pytest.raises(DataError, match="broken") as error:
        read(bytes(content), 4)
    assert len(str(error.value)) < 400


def test_a_header_of_any_size_allocates_nothing():
    huge = array(np.zeros((1, 1, 4), np.uint8)).replace(b"(1, 1, 4), }         ", b"(99999999, 99999, 4)}")
    assert b"99999999" in huge
    with pytest.raises(DataError, match="broken"):
        read(huge, 4)


def test_several_arrays_are_refused_and_too_many_pixels(monkeypatch):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(DataError, match=r"2 arrays \(a\.npy, b\.npy\); expected one"):
        read(buffer.getvalue(), 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="more than 20 pixels"):
        read(array(np.zeros((7, 3), np.uint8)), 1)


def test_an_archive_that_grows_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr("beit.image.band_reading.MOST_BYTES", 2**20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(2**21))
    with pytest.raises(DataError, match="at most 1 MiB"):
        read(buffer.getvalue(), 1)
