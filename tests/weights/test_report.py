import pytest

from beit.errors import CheckpointError
from beit.weights import LoadReport, check_fit


def test_everything_fits():
    report = check_fit("x", {"a": (1,)}, {"a": (1,)}, (), ())
    assert report.silent
    assert str(report) == "every parameter was loaded"


def test_allowed_differences_are_reported():
    report = check_fit("x", {"a": (1,), "old.w": (3,), "head.w": (2,)}, {"a": (1,), "head.w": (5,), "new.w": (1,)},
                       may_be_new=("new.*",), may_be_left_out=("old.*",), may_be_reshaped=("head.*",))  # fmt: skip
    assert report == LoadReport(missing=["new.w"], unexpected=["old.w"], new=["head.w", "new.w"])
    assert str(report) == (
        "new, not from the checkpoint: head.w, new.w (as expected where training follows); "
        "in the checkpoint, not used: old.w"
    )


def test_every_other_difference_is_named():
    found = {"a": (1,), "b": (2, 2), **{f"z{i}": (1,) for i in range(9)}}
    with pytest.raises(CheckpointError) as caught:
        check_fit("file", found, {"b": (2, 3), "c": (1,)}, (), ())
    message = str(caught.value)
    assert "1 missing: c" in message
    assert "b is (2, 2), the model has (2, 3)" in message
    assert "10 unknown: a, z0, z1, z2, z3, z4 and 4 more" in message


def test_up_to_six_names_are_listed():
    with pytest.raises(CheckpointError, match=r"6 missing: a0, a1, a2, a3, a4, a5\. Check"):
        check_fit("file", {}, {f"a{number}": (1,) for number in range(6)})


def test_the_loading_info_of_the_published_api():
    report = LoadReport(missing=["a"], unexpected=["b"], new=["a", "d", "c"], adapted=["resized"])
    assert report.as_loading_info() == {
        "missing_keys": ["a"],
        "unexpected_keys": ["b"],
        "mismatched_keys": ["c", "d"],
        "error_msgs": [],
    }
    assert not report.silent
    assert str(report) == (
        "resized; new, not from the checkpoint: a, d, c (as expected where training follows); "
        "in the checkpoint, not used: b"
    )


@pytest.mark.parametrize("kind", ["new", "unexpected", "adapted"])
def test_whatever_differs_is_told(kind):
    assert not LoadReport(**{kind: ["x"]}).silent
    assert LoadReport(resized=["x"]).silent  # said by `adapted`, in words
