"""Frames, groups and colours of DICOM; rescaling and windows are tested with the real files."""

import io

import numpy as np
import pytest

from beit.errors import DataError
from tests.data.real_files.test_extra_formats import dicom
from tests.image.deep_files import read

pydicom = pytest.importorskip("pydicom")
RNG = np.random.default_rng(0)


def saved(file):
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def group(**elements):
    item = pydicom.Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return pydicom.Sequence([item])


def test_a_frame_is_chosen_by_its_number(tmp_path):
    deep = RNG.integers(0, 4096, (5, 16, 12))
    content = dicom(tmp_path / "a.dcm", deep, NumberOfFrames=5).read_bytes()
    for channels in (1, 3):
        for frame in (0, 4):
            expected = np.broadcast_to(deep[frame] / 4095, (channels, 16, 12))
            np.testing.assert_allclose(read(content, channels, frame=frame), expected, atol=1e-6)
    with pytest.raises(DataError, match=r"holds 5 pictures, and data\.frame is 5; expected a number from 0 to 4"):
        read(content, 1, frame=5)


def test_frames_have_rescalings_of_their_own(tmp_path):
    deep = RNG.integers(0, 4096, (2, 16, 12))
    file = pydicom.dcmread(dicom(tmp_path / "a.dcm", deep, NumberOfFrames=2))
    own = [
        group(PixelValueTransformationSequence=group(RescaleSlope=factor, RescaleIntercept=-1000)) for factor in (1, 2)
    ]
    file.PerFrameFunctionalGroupsSequence = [one[0] for one in own]
    content = saved(file)
    for frame, factor in ((0, 1), (1, 2)):
        expected = ((deep[frame] * factor - 1000 + 1000) / 5000).clip(0, 1)
        np.testing.assert_allclose(read(content, 1, (-1000, 4000), frame)[0], expected, atol=1e-6)


def test_colours_of_16_bits_and_palettes(tmp_path):
    values = RNG.integers(0, 4096, (16, 12, 3)).astype(np.uint16)
    file = pydicom.dcmread(dicom(tmp_path / "a.dcm", values[..., 0]))
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PlanarConfiguration = 3, "RGB", 0
    file.PixelData = values.tobytes()
    np.testing.assert_allclose(read(saved(file)), values.transpose(2, 0, 1) / 4095, atol=1e-6)
    file = pydicom.dcmread(dicom(tmp_path / "b.dcm", np.array([[0, 1], [2, 3]] * 8)))
    file.PhotometricInterpretation = "PALETTE COLOR"
    for name, levels in (("Red", [0, 65535, 0, 0]), ("Green", [0, 0, 65535, 0]), ("Blue", [0, 0, 0, 65535])):
        file.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [4, 0, 16])
        file.add_new(f"{name}PaletteColorLookupTableData", "OW", np.array(levels, np.uint16).tobytes())
    assert read(saved(file))[:, :2].tolist() == [[[0, 1], [0, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 1]]]


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"RescaleSlope": 0, "RescaleIntercept": -1024}, "RescaleSlope is 0, which makes all values one"),
        ({"WindowCenter": 40, "WindowWidth": -5}, "WindowWidth is -5, which shows nothing"),
        ({"WindowCenter": 40, "WindowWidth": 0}, "WindowWidth is 0, which shows nothing"),
        ({"RescaleSlope": 1e308}, "NaN or infinite"),
    ],
)
def test_elements_that_leave_no_picture_are_named(tmp_path, recwarn, elements, message):
    content = dicom(tmp_path / "a.dcm", RNG.integers(0, 4096, (16, 12)), **elements).read_bytes()
    with pytest.raises(DataError, match=message):
        read(content, 1)
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]
