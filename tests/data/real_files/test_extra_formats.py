"""HEIC and DICOM, in folders, shards and alone."""

import sys

import numpy as np
import pytest
from PIL import Image

from beit.data import open_source
from beit.errors import DataError
from beit.image import BandOptions, as_rgb, open_image, read_image
from tests.data.real_files.pictures import names, save


def heic(path, picture, **options):
    pillow_heif = pytest.importorskip("pillow_heif")
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow_heif.from_pillow(picture).save(str(path), quality=-1, **options)
    return path


def dicom(path, values, signed=False, bits=12, syntax="ExplicitVRLittleEndian", **elements):
    """Write a DICOM file of grey values (H, W), or of frames of them."""
    pydicom = pytest.importorskip("pydicom")
    values = np.asarray(values, np.int16 if signed else np.uint16)
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    file = pydicom.Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = values.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, bits, bits - 1, int(signed)
    for name, value in elements.items():
        setattr(file, name, value)
    file.PixelData = values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def test_heic_in_a_folder_is_read(tmp_path, capsys):
    for name in ("cat", "dog"):
        heic(tmp_path / name / "1.HEIC", Image.new("RGB", (32, 24), (200, 30, 60)))
        save(tmp_path / name / "2.png")
    source = open_source(str(tmp_path))
    assert names(source) == ["1.HEIC", "2.png"] * 2
    assert source.load(0).size == (32, 24)
    assert abs(np.asarray(source.load(0)).astype(int) - (200, 30, 60)).max() < 4
    assert capsys.readouterr().err == ""


def test_heic_that_is_called_jpg_is_read(tmp_path):
    path = heic(tmp_path / "a.heic", Image.new("RGB", (32, 24), (200, 30, 60))).rename(tmp_path / "a.jpg")
    assert read_image(path).size == open_image(path.read_bytes(), "a").decode().picture.size == (32, 24)


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    path = heic(tmp_path / "a.heic", Image.new("RGB", (32, 24)))
    monkeypatch.setattr(Image, "open", _unknown)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(
        DataError, match=r"a\.heic cannot be read here; .* the library 'pillow_heif' .* pip install -e '\.\[heic\]'"
    ):
        read_image(path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"b cannot be read here; .* pip install -e '\.\[dicom\]'"):
        open_image(bytes(128) + b"DICM", "b")


def _unknown(*_, **__):
    raise Image.UnidentifiedImageError


def grey(path):
    return np.asarray(open_source(str(path)).load(0))[..., 0] if path.is_dir() else np.asarray(read_image(path))[..., 0]


ROW = [[0, 1000, 2000, 4095]] * 16


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        (ROW, {}, [0, 62, 125, 255]),  # 12 of 16 bits: all of them are the range
        (ROW, {"PhotometricInterpretation": "MONOCHROME1"}, [255, 193, 130, 0]),
        (ROW, {"WindowCenter": 1000, "WindowWidth": 1001}, [0, 128, 255, 255]),  # black at 499.5, white at 1499.5
        (ROW, {"WindowCenter": [1000, 7], "WindowWidth": [1001, 7]}, [0, 128, 255, 255]),
        (ROW, {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40.5, "WindowWidth": 401},
         [0, 87, 255, 255]),
        ([[-1000, 0, 40, 2000]] * 16, {"signed": True, "WindowCenter": 40.5, "WindowWidth": 401}, [0, 102, 128, 255]),
        (ROW, {"WindowCenter": 1000, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}, [0, 128, 255, 255]),
    ],
)  # fmt: skip
def test_dicom_is_rescaled_and_windowed(tmp_path, values, options, expected):
    path = dicom(tmp_path / "scans" / "a.dcm", values, **options)
    assert abs(grey(path)[0].astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(
        np.asarray(as_rgb(open_image(path.read_bytes(), "a").decode().picture))[..., 0], grey(path)
    )


def test_dicom_in_a_folder_and_in_frames(tmp_path):
    for name in ("ill", "well"):
        dicom(tmp_path / "scans" / name / "a.dcm", np.full((16, 12), 4095))
    source = open_source(str(tmp_path / "scans"))
    assert (source.classes, source.load(1).size, source.load(1).getpixel((0, 0))) == (
        ["ill", "well"],
        (12, 16),
        (255,) * 3,
    )
    frames = dicom(tmp_path / "b.dcm", np.zeros((3, 16, 16)), NumberOfFrames=3)
    with pytest.raises(DataError, match=r"b\.dcm holds several pictures \(3 frames of DICOM\); expected one"):
        read_image(frames)
    frames.write_bytes(frames.read_bytes()[:600])
    with pytest.raises(DataError, match=r"b\.dcm"):
        read_image(frames)


def test_deflated_dicom_is_read_up_to_a_bound(tmp_path, monkeypatch):
    path = dicom(tmp_path / "a.dcm", [[0, 4095]] * 300, syntax="DeflatedExplicitVRLittleEndian")
    plain = dicom(tmp_path / "b.dcm", [[0, 4095]] * 300)
    assert read_image(path).tobytes() == read_image(plain).tobytes()
    monkeypatch.setattr("beit.image.dicom._MOST_UNPACKED", 1000)
    with pytest.raises(DataError, match=r"a\.dcm.* is broken: unpacks to more than .*another transfer syntax"):
        read_image(path)
    assert read_image(plain).size == (2, 300)


def test_what_a_library_says_in_several_lines_is_one(tmp_path):
    path = heic(tmp_path / "a.heic", Image.new("RGB", (32, 24)))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError) as error:
        read_image(path)
    assert "\n" not in str(error.value)


def changed(path, **elements):
    """Return a DICOM file of grey values with other elements; None leaves one out."""
    pydicom = pytest.importorskip("pydicom")
    file = pydicom.dcmread(path)
    for name, value in elements.items():
        delattr(file, name) if value is None else setattr(file, name, value)
    file.save_as(path)
    return path


def table(*outputs, bits, **elements):
    """Return a table (LUT) of DICOM for the numbers 0, 1 and so on."""
    pydicom = pytest.importorskip("pydicom")
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [len(outputs), 0, bits], np.array(outputs, np.uint16).tobytes()
    for name, value in elements.items():
        setattr(item, name, value)
    return pydicom.Sequence([item])


def test_numbers_of_dicom_that_do_not_begin_at_the_lowest_bit(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.array(ROW) << 4 | 9, HighBit=15)
    assert grey(path)[0].tolist() == [0, 62, 125, 255]


def test_tables_of_dicom(tmp_path):
    numbers = [[0, 1, 2, 3]] * 16
    given = dicom(tmp_path / "a.dcm", numbers, ModalityLUTSequence=table(0, 1000, 2000, 65535, bits=16))
    assert grey(given)[0].tolist() == [0, 4, 8, 255]
    shown = dicom(tmp_path / "b.dcm", numbers, VOILUTSequence=table(255, 200, 100, 0, bits=8))
    assert grey(shown)[0].tolist() == [255, 200, 100, 0]
    in_units = open_image(shown.read_bytes(), "b", bands=BandOptions(1, (0, 3))).decode().picture
    np.testing.assert_allclose(in_units.unit_array()[0, 0], [0, 1 / 3, 2 / 3, 1], atol=1e-6)
    window = {"WindowCenter": 2, "WindowWidth": 5}  # black at -0.5, white at 3.5
    both = dicom(tmp_path / "c.dcm", numbers, VOILUTSequence=table(255, 200, 100, 0, bits=8), **window)
    assert grey(both)[0].tolist() == [32, 96, 159, 223]


def test_dicom_of_real_numbers_and_without_its_beginning(tmp_path):
    path = dicom(tmp_path / "a.dcm", ROW)
    bare = tmp_path / "b.dcm"
    bare.write_bytes(path.read_bytes()[132:])
    assert grey(bare).tobytes() == grey(path).tobytes()
    shares = np.array([[0, 0.25, 0.5, 1]] * 16, np.float32).tobytes()
    integers = dict.fromkeys(("PixelData", "BitsStored", "HighBit", "PixelRepresentation"))
    changed(path, **integers, FloatPixelData=shares, BitsAllocated=32)
    assert grey(path)[0].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        ("JPEGLSLossless", "DICOM in JPEG-LS Lossless .*pip install pylibjpeg"),
        ("MPEG2MPML", "DICOM in MPEG2 Main Profile / Main Level; expected a picture"),
    ],
)
def test_compression_that_is_not_read_is_named(tmp_path, syntax, message):
    pydicom = pytest.importorskip("pydicom")
    path = dicom(tmp_path / "a.dcm", ROW)
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    file.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7" + bytes(40)])
    file["PixelData"].is_undefined_length = True
    file.save_as(path)
    with pytest.raises(DataError, match=message):
        read_image(path)
