import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beit.weights.pickles.torch_objects import StridedTensor, is_row_major
from beit.weights.storage.lazy_tensor import LazyTensor, WeightFile


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
    file = WeightFile(path)
    found = StridedTensor(view.shape, "int32", file, start, strides).read()
    np.testing.assert_array_equal(found, view)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    if is_row_major(view.shape, strides):
        np.testing.assert_array_equal(LazyTensor(view.shape, "int32", file, start).read(), view)


def test_only_its_own_bytes_are_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)  # a sparse file of a tebibyte
    tensor = StridedTensor((2, 2), "float32", WeightFile(path), 2**39, (3, 1))
    assert tensor.span == 5
    assert not tensor.is_plain
    np.testing.assert_array_equal(tensor.read(), np.zeros((2, 2)))


@pytest.mark.parametrize(("strides", "message"), [((-1,), r"strides \[-1\]"), ((1, 1), "2 strides for 1 axes")])
def test_impossible_strides(tmp_path, strides, message):
    (tmp_path / "x").write_bytes(bytes(8))
    with pytest.raises(ValueError, match=message):
        StridedTensor((2,), "float32", WeightFile(tmp_path / "x"), 0, strides)


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
