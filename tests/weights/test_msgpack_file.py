import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from beit.errors import CheckpointError, StorageError
from beit.weights.msgpack_file import open_msgpack, write_msgpack
from beit.weights.storage.lazy_tensor import ITEM_SIZES, LazyTensor
from tests.conftest import GOLDEN
from tests.full_disk import full_disk

FILES = sorted(GOLDEN.glob("hf_flax/*/flax_model.msgpack"))
NUMPY_NAMES = [name for name in ITEM_SIZES if name != "bfloat16"]


def read_all(tree):
    return {name: read_all(part) if isinstance(part, dict) else part.read() for name, part in tree.items()}


def test_there_are_golden_files():
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_golden_files_come_back_byte_for_byte(tmp_path, path):
    write_msgpack(tmp_path / "x.msgpack", read_all(open_msgpack(path)))
    assert (tmp_path / "x.msgpack").read_bytes() == path.read_bytes()


def test_golden_values(golden):
    case = golden("hf_flax/model_mean")
    params = open_msgpack(case.folder / "flax_model.msgpack")
    params = params.get("beit", params)
    for name, gradient in ((name[5:], value) for name, value in case.io.items() if name.startswith("grad.")):
        part = params
        for step in name.removeprefix("beit.").split("."):
            part = part[step]
        assert part.shape == gradient.shape  # a parameter has the shape of its gradient
    assert {name for name in case.io if name.startswith("grad.")}


NAMES = st.text(st.characters(codec="utf-8"), max_size=40)
LEAVES = st.sampled_from(NUMPY_NAMES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


@settings(max_examples=25, deadline=None)
@given(
    tree=st.dictionaries(
        NAMES, st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=4), max_size=8
    )
)
def test_any_tree_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "tree.msgpack"
    write_msgpack(path, tree)
    assert_same(read_all(open_msgpack(path)), tree)


def assert_same(found, expected):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same(found[name], expected[name])
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 16, 17, 100, 255, 256, 300, 65535, 65536, 70000])
def test_every_length_of_head(tmp_path, count):
    tree = {"n" * min(count, 60000): np.arange(count).astype(np.uint8), "wide": np.zeros((count, 0), np.int8)}
    write_msgpack(tmp_path / "x", tree)
    assert_same(read_all(open_msgpack(tmp_path / "x")), tree)


@pytest.mark.parametrize("count", [15, 16, 65536])
@pytest.mark.e2e
def test_every_size_of_map(tmp_path, count):
    tree = {str(number): np.int8([1]) for number in range(count)}
    write_msgpack(tmp_path / "x", tree)
    assert list(open_msgpack(tmp_path / "x")) == list(tree)


def test_bytes_as_the_format_has_them(tmp_path):
    write_msgpack(tmp_path / "x", {"a": {"b": np.float32([1.5])}})
    payload = b"\x93\x91\x01\xa7float32\xc4\x04\x00\x00\xc0\x3f"
    assert (tmp_path / "x").read_bytes() == b"\x81\xa1a\x81\xa1b\xc7" + bytes([len(payload)]) + b"\x01" + payload


def test_bit_patterns_of_bfloat16(tmp_path):
    bits = np.array([[0x3F80, 0xC000]], np.uint16)
    write_msgpack(tmp_path / "x", {"a": (bits, "bfloat16")})
    tensor = open_msgpack(tmp_path / "x")["a"]
    assert tensor.dtype == "bfloat16"
    np.testing.assert_array_equal(tensor.read(), bits)


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3).T, np.arange(6.0)[::2], np.arange(3, dtype=">f4")])
def test_arrays_in_any_order_are_written_row_major_and_little_endian(tmp_path, array):
    write_msgpack(tmp_path / "x", {"a": array})
    np.testing.assert_array_equal(open_msgpack(tmp_path / "x")["a"].read(), array)


def test_numbers_and_text_beside_arrays(tmp_path):
    number = b"\xc7\x0f\x03\x93\x90\xa7float32\xc4\x04\x00\x00\xc0\x3f"
    content = b"\x8a\xa1a\x05\xa1b\xff\xa1c\xcd\x01\x00\xa1d\xd1\xff\x00\xa1e\xcb\x3f\xf8" + bytes(6)
    content += b"\xa1f\xc0\xa1g\xc3\xa1h\xa2hi\xa1i\xca\x3f\xc0\x00\x00\xa1j" + number.replace(b"\x0f", b"\x10", 1)
    (tmp_path / "x").write_bytes(content)
    found = open_msgpack(tmp_path / "x")
    assert isinstance(found["j"], LazyTensor)
    assert found.pop("j").read() == 1.5
    assert found == {"a": 5, "b": -1, "c": 256, "d": -256, "e": 1.5, "f": None, "g": True, "h": "hi", "i": 1.5}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({1: np.zeros(1)}, "has the key 1; names are strings"),
        ({"a": [1.0]}, "a is a list; expected a numpy array"),
        ({"a": {"b": np.array(["x"])}}, "a: b holds str.*, to be written as str.*; expected one of"),
        ({"a": (np.zeros(1), "bfloat16")}, "holds float64, to be written as bfloat16"),
    ],
)
def test_what_cannot_be_written(tmp_path, tree, message):
    with pytest.raises(CheckpointError, match=message):
        write_msgpack(tmp_path / "x", tree)


def test_a_tree_too_deep_to_be_read_again(tmp_path):
    tree = {"a": np.zeros(1)}
    for _ in range(63):
        tree = {"a": tree}
    write_msgpack(tmp_path / "x", tree)
    open_msgpack(tmp_path / "x")
    with pytest.raises(CheckpointError, match="is nested 64 deep"):
        write_msgpack(tmp_path / "x", {"a": tree})


def test_a_full_disk(tmp_path):
    with full_disk(1000), pytest.raises(StorageError, match=r"cannot write .*x: File too large; free space"):
        write_msgpack(tmp_path / "x", {"a": np.zeros(100_000)})
    assert list(tmp_path.iterdir()) == []
