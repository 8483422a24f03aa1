import json
import os
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from beit.errors import CheckpointError, shortened
from beit.weights.storage.lazy_tensor import DTYPES, ITEM_SIZES, LazyTensor, WeightFile, is_count, open_safetensors
from tests.conftest import GOLDEN

FILES = sorted(GOLDEN.glob("hf_v4/*/model.safetensors"))
NUMPY_NAMES = [name for name in ITEM_SIZES if name != "bfloat16"]


@pytest.fixture
def stored(tmp_path):
    """Write an array behind 3 other bytes and say where it is."""

    def store(array, shape=None, dtype=None):
        path = tmp_path / "file"
        path.write_bytes(b"abc" + array.tobytes() + b"after")
        shape = array.shape if shape is None else shape
        return LazyTensor(shape, dtype or array.dtype.name, WeightFile(path), 3)

    return store


@pytest.mark.parametrize("dtype", NUMPY_NAMES)
def test_every_data_type(stored, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = stored(array)
    assert tensor.nbytes == array.nbytes
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


def test_only_its_own_bytes_are_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)  # a sparse file of a tebibyte
    tensor = LazyTensor((2, 2), "float32", WeightFile(path), 2**39)
    np.testing.assert_array_equal(tensor.read(), np.zeros((2, 2)))


def test_a_file_that_is_too_short(stored):
    tensor = stored(np.zeros(4, np.float32), shape=(2**40,))
    with pytest.raises(CheckpointError, match=r"holds 24 bytes, a tensor ends at byte 4398046511107"):
        tensor.read()


def test_an_open_file_can_be_replaced(stored):
    """What was opened is read to its end, so that no model is made of two checkpoints."""
    tensor = stored(np.arange(4.0))
    tensor.file.path.with_name("new").write_bytes(b"something else")
    os.replace(tensor.file.path.with_name("new"), tensor.file.path)
    np.testing.assert_array_equal(tensor.read(), np.arange(4.0))


def test_a_file_is_closed_with_its_last_tensor(stored):
    def open_files():
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    tensors = [stored(np.arange(4.0))]
    assert open_files() == before + 1
    tensors.clear()
    assert open_files() == before


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
    ],
)
def test_impossible_tensors(stored, fields, message):
    file = stored(np.zeros(2, np.float32)).file
    with pytest.raises(ValueError, match=message):
        LazyTensor(**({"shape": (2,), "dtype": "float32", "file": file, "offset": 0} | fields))


@pytest.mark.parametrize("dtype", [name for name in NUMPY_NAMES if name != "bool"])
def test_plain_tensors_are_read_in_place(stored, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    tensor, found = stored(array), np.zeros_like(array)
    assert tensor.is_plain
    tensor.read_into(found)
    np.testing.assert_array_equal(found, array)


def test_what_is_not_plain(stored):
    assert not stored(np.array([True, False])).is_plain


def test_a_file_that_ends_early_is_an_error_when_it_is_read_in_place(stored):
    tensor = stored(np.zeros(100, np.float32))
    os.truncate(tensor.file.path, 50)
    with pytest.raises(CheckpointError, match="ended after 47 of 400 bytes"):
        tensor.read_into(np.zeros(100, np.float32))


def test_what_counts_as_a_count():
    assert [value for value in (0, 5, -1, True, 2.0, "3", None) if is_count(value)] == [0, 5]


def test_values_are_shown_shortly():
    assert shortened("a" * 1000) == repr("a" * 100) + "..."
    assert shortened(2**4000) == "<int of 4001 bits>"
    assert shortened((1, None, 2.5, "x", [3], {})) == "[1, None, 2.5, 'x', <list>, <dict>]"
    assert shortened(list(range(1000))) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"


def as_torch(tensor):
    """Read a stored tensor as torch has it."""
    found = torch.from_numpy(tensor.read())
    return found.view(torch.bfloat16) if tensor.dtype == "bfloat16" else found


def test_there_are_golden_files():
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_golden_files_of_safetensors(path):
    ours, theirs = open_safetensors(path), load_file(path)
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].shape == tensor.shape
        assert torch.equal(as_torch(ours[name]), tensor)


@pytest.mark.parametrize("dtype", sorted(set(DTYPES.values())))
def test_every_data_type_of_safetensors(tmp_path, dtype):
    tensors = {
        "plain": torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)),
        "scalar": torch.tensor(1).to(getattr(torch, dtype)),
        "empty": torch.zeros(0, 4).to(getattr(torch, dtype)),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    ours = open_safetensors(tmp_path / "x.safetensors")
    assert set(ours) == set(tensors)  # the metadata is no tensor
    for name, tensor in tensors.items():
        assert ours[name].dtype == dtype
        assert torch.equal(as_torch(ours[name]), tensor)


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**37], "data_offsets": [0, 2**39]}}).encode()
    with (tmp_path / "large").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**39)  # a sparse file of half a tebibyte
    assert open_safetensors(tmp_path / "large")["a"].nbytes == 2**39


def test_a_header_padded_with_spaces_and_a_file_without_tensors(tmp_path):
    (tmp_path / "x").write_bytes(struct.pack("<Q", 8) + b"{}      ")
    assert open_safetensors(tmp_path / "x") == {}


def test_damaged_golden_files():
    with pytest.raises(CheckpointError, match="tensors end at byte 100628, the file at byte 50314"):
        open_safetensors(GOLDEN / "bad" / "truncated" / "model.safetensors")
    with pytest.raises(CheckpointError, match="a header of 1099511627776 bytes in a file of 10"):
        open_safetensors(GOLDEN / "bad" / "huge_header" / "model.safetensors")
    shapes = [tensor.read().shape for tensor in open_safetensors(GOLDEN / "bad/wrong_shape/model.safetensors").values()]
    assert all(np.prod(shape) for shape in shapes)  # the file is sound, though it fits no model


def test_a_name_that_cannot_be_printed(tmp_path):
    header = rb'{"\ud800": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}}'
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + b"a")
    with pytest.raises(CheckpointError, match="surrogates not allowed"):
        open_safetensors(tmp_path / "x")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"dtype": "F7", "shape": [1], "data_offsets": [0, 4]}, "'weight' has the data type 'F7'; expected one of "),
        ({"dtype": "F32", "shape": [1], "data_offsets": 4}, "'weight' has the data_offsets 4, not a list"),
    ],
)
def test_a_wrong_entry_is_named_with_its_value(tmp_path, entry, said):
    header = json.dumps({"weight": entry}).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(CheckpointError) as refusal:
        open_safetensors(tmp_path / "x")
    assert said in str(refusal.value)
