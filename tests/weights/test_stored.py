import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beit.errors import CheckpointError
from beit.weights.stored import ITEM_SIZES, StoredTensor, is_count, is_row_major, shortened

NUMPY_NAMES = [name for name in ITEM_SIZES if name != "bfloat16"]


@pytest.fixture
def stored(tmp_path):
    """Write an array behind 3 other bytes and say where it is."""

    def store(array, shape=None, strides=None, dtype=None):
        path = tmp_path / "file"
        path.write_bytes(b"abc" + array.tobytes() + b"after")
        return StoredTensor(array.shape if shape is None else shape, dtype or array.dtype.name, path, 3, strides)

    return store


@pytest.mark.parametrize("dtype", NUMPY_NAMES)
def test_every_data_type(stored, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = stored(array)
    assert tensor.nbytes == tensor.span == array.nbytes
    found = tensor.read()
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.flags.c_contiguous


def test_bfloat16_comes_as_bit_patterns(stored):
    bits = (np.array([1.0, -2.5], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    found = stored(bits, dtype="bfloat16").read()
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, bits)


def test_a_bool_is_true_or_false_whatever_the_byte(stored):
    found = stored(np.array([0, 1, 2, 255], np.uint8), dtype="bool").read()
    assert found.dtype == bool
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (0, 2**40), (1, 1)])
def test_scalars_and_empty_tensors(stored, shape):
    array = np.full([min(size, 9) for size in shape], 7.5, np.float32)
    found = stored(array, shape).read()
    assert found.shape == shape
    assert np.all(found == 7.5)


@settings(deadline=None)
@given(
    base=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    data=st.data(),
)
def test_any_view_is_read_like_numpy_has_it(tmp_path_factory, base, data):
    whole = np.arange(np.prod(base), dtype=np.int32).reshape(base)
    view = whole.transpose(data.draw(st.permutations(range(len(base)))))
    view = view[
        tuple(slice(data.draw(st.integers(0, size - 1)), None, data.draw(st.integers(1, 2))) for size in view.shape)
    ]
    start = (view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]) if view.size else 0
    path = tmp_path_factory.getbasetemp() / "view"
    path.write_bytes(whole.tobytes())
    strides = tuple(step // 4 for step in view.strides)
    found = StoredTensor(view.shape, "int32", path, start, strides).read()
    np.testing.assert_array_equal(found, view)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    if is_row_major(view.shape, strides):
        np.testing.assert_array_equal(StoredTensor(view.shape, "int32", path, start).read(), view)


def test_only_its_own_bytes_are_read(tmp_path, monkeypatch):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)  # a sparse file of a tebibyte
    tensor = StoredTensor((2, 2), "float32", path, 2**39, (3, 1))
    assert tensor.span == 20
    np.testing.assert_array_equal(tensor.read(), np.zeros((2, 2)))


def test_a_file_that_is_too_short(stored):
    tensor = stored(np.zeros(4, np.float32), shape=(2**40,))
    with pytest.raises(CheckpointError, match=r"holds 24 bytes, a tensor ends at byte 4398046511107"):
        tensor.read()
    os.unlink(tensor.path)
    with pytest.raises(CheckpointError, match="No such file"):
        tensor.read()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": "object"}, "data type 'object'; expected one of float64"),
        ({"shape": (-1,)}, r"shape \[-1\]; expected whole numbers"),
        ({"shape": (2.0,)}, r"shape \[2.0\]; expected whole numbers"),
        ({"shape": (True,)}, r"shape \[True\]; expected whole numbers"),
        ({"shape": (2**62,)}, "more elements than fit"),
        ({"shape": (1,) * 33}, "shape of 33 axes; expected at most 32"),
        ({"offset": -1}, "offset -1; expected a whole number"),
        ({"strides": (-1,)}, r"strides \[-1\]"),
        ({"strides": (1, 1)}, "2 strides for 1 axes"),
    ],
)
def test_impossible_tensors(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        StoredTensor(**({"shape": (2,), "dtype": "float32", "path": tmp_path, "offset": 0} | fields))


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((), (), True),
        ((2, 3), (3, 1), True),
        ((2, 3), (1, 2), False),
        ((2, 3), (4, 1), False),
        ((1, 3), (77, 1), True),
        ((2, 0), (9, 9), True),
    ],
)
def test_row_major(shape, strides, expected):
    assert is_row_major(shape, strides) is expected


@pytest.mark.parametrize("dtype", [name for name in NUMPY_NAMES if name != "bool"])
def test_plain_tensors_are_read_in_place(stored, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    tensor, found = stored(array), np.zeros_like(array)
    assert tensor.is_plain
    tensor.read_into(found)
    np.testing.assert_array_equal(found, array)


def test_what_is_not_plain(stored):
    assert not stored(np.array([True, False])).is_plain
    assert not stored(np.zeros((2, 3), np.float32), strides=(1, 2)).is_plain


def test_a_file_that_ends_early_is_told_while_it_is_read_in_place(stored):
    tensor = stored(np.zeros(100, np.float32))
    os.truncate(tensor.path, 50)
    with pytest.raises(CheckpointError, match="ended after 47 of 400 bytes"):
        tensor.read_into(np.zeros(100, np.float32))


def test_what_counts_as_a_count():
    assert [value for value in (0, 5, -1, True, 2.0, "3", None) if is_count(value)] == [0, 5]


def test_values_are_shown_shortly():
    assert shortened("a" * 1000) == repr("a" * 100) + "..."
    assert shortened(2**4000) == "<int of 4001 bits>"
    assert shortened((1, None, 2.5, "x", [3], {})) == "[1, None, 2.5, 'x', <list>, <dict>]"
    assert shortened(list(range(1000))) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
