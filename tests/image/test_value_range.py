"""Deep grey, in the range that its file declares."""

import io

import numpy as np
import pytest
from PIL import Image

from beit.data import open_source
from beit.errors import DataError
from beit.image import open_image, read_image
from beit.image.input_types import to_picture


def tiff(values, dtype, **tags):
    file = io.BytesIO()
    named = {int(name.removeprefix("tag")): value for name, value in tags.items()}
    Image.fromarray(np.asarray(values, dtype)).save(file, "TIFF", tiffinfo=named)
    return file.getvalue()


def grey(content):
    """The grey of every way to read a file, which is the same for all."""
    found = np.asarray(read_image(content))
    np.testing.assert_array_equal(np.asarray(open_image(content, "a").decode().picture), found)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(to_picture(image, None).content), found)
    assert (found[..., :1] == found).all()
    return found[..., 0]


RAMP = np.arange(4096).reshape(64, 64)


def test_twelve_bits_in_sixteen_keep_256_levels():
    found = grey(tiff(RAMP, np.uint16, tag281=4095))
    np.testing.assert_array_equal(found, np.rint(RAMP / 4095 * 255))
    assert len(np.unique(found)) == 256


def test_a_range_that_does_not_begin_at_zero():
    np.testing.assert_array_equal(grey(tiff([[100, 150, 200, 50, 900]], np.uint16, tag280=100, tag281=200)),
                                  [[0, 128, 255, 0, 255]])  # fmt: skip


@pytest.mark.parametrize(("dtype", "values"), [(np.int32, [-1000, 0, 1000]), (np.float32, [-0.5, 0.0, 0.5])])
def test_whole_and_real_numbers_of_32_bits(dtype, values):
    low, high = float(values[0]), float(values[-1])
    found = grey(tiff([values], dtype, tag340=low, tag341=high))
    np.testing.assert_array_equal(found, [[0, 128, 255]])


def test_it_is_turned_too():
    values = np.zeros((4, 6), np.uint16)
    values[0] = 4095
    found = grey(tiff(values, np.uint16, tag281=4095, tag274=6))
    assert found.shape == (6, 4)
    assert (found[:, -1] == 255).all()
    assert not found[:, :-1].any()


def test_without_a_range_it_is_as_before(tmp_path):
    np.testing.assert_array_equal(grey(tiff([[0, 256, 65535]], np.uint16)), [[0, 1, 255]])
    np.testing.assert_array_equal(grey(tiff([[0, 256, 65535]], np.uint16, tag281=0)), [[0, 1, 255]])
    (tmp_path / "a.tif").write_bytes(tiff(np.zeros((16, 16)), np.float32))
    with pytest.raises(DataError, match=r"whose range is unknown; .* a TIFF that declares MinSampleValue"):
        open_source(str(tmp_path)).load(0)
