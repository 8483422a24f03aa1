"""The comparison of a checkpoint with a model."""

import pytest

from beit.errors import CheckpointError
from beit.weights import LoadReport, check_shapes


def test_everything_fits():
    report = check_shapes("x", {"a": (1,)}, {"a": (1,)}, (), ())
    assert report.silent
    assert str(report) == "every parameter was loaded"


def test_allowed_differences_are_reported():
    report = check_shapes("x", {"a": (1,), "old.w": (3,), "head.w": (2,)}, {"a": (1,), "head.w": (5,), "new.w": (1,)},
                       may_be_new=("new.*",), may_be_left_out=("old.*",), may_be_reshaped=("head.*",))  # fmt: skip
    assert report == LoadReport(missing=["new.w"], unexpected=["old.w"], new=["head.w", "new.w"])
    assert str(report) == (
        "new, not from the checkpoint: head.w, new.w (as expected where training follows); "
        "in the checkpoint, not used: old.w"
    )


def test_every_other_difference_is_named():
    found = {"a": (1,), "b": (2, 2), **{f"z{i}": (1,) for i in range(9)}}
    with pytest.raises(CheckpointError) as caught:
        check_shapes("file", found, {"b": (2, 3), "c": (1,)}, (), ())
    message = str(caught.value)
    assert "1 missing: c" in message
    assert "b is (2, 2), the model has (2, 3)" in message
    assert "10 unknown: a, z0, z1, z2, z3, z4, z5, z6, z7, z8." in message


def test_many_names_are_folded_by_the_part_of_the_model():
    names = [f"decode_head.{number}" for number in range(8)] + [f"beit.encoder.{number}" for number in range(3)]
    assert str(LoadReport(new=[*names, "classifier.bias"])) == (
        "new, not from the checkpoint: decode_head.* (8), beit.encoder.* (3), classifier.bias "
        "(as expected where training follows)"
    )
    assert str(LoadReport(unexpected=[f"head:{name}" for name in names])).endswith(
        "decode_head.* (8), beit.encoder.* (3)"
    )
    with pytest.raises(CheckpointError, match=r"11 missing: beit\.encoder\.\* \(3\), decode_head\.\* \(8\)\. Check"):
        check_shapes("file", {}, dict.fromkeys(names, (1,)))
    assert "decode_head.7" in str(LoadReport(new=names[:10])), "up to ten are listed"
    with pytest.raises(CheckpointError, match=r"7 of another shape: a0 is .* and 1 more"):
        check_shapes("file", {f"a{i}": (1,) for i in range(7)}, {f"a{i}": (2,) for i in range(7)})


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
def test_whatever_differs_is_named(kind):
    assert not LoadReport(**{kind: ["x"]}).silent
    assert LoadReport(resized=["x"]).silent  # said by `adapted`, in words


def test_names_of_strangers_are_shown_in_one_line():
    for count in (1, 20):
        found = {f"a\n\x1b[2J{number}.b": (1,) for number in range(count)}
        with pytest.raises(CheckpointError) as caught:
            check_shapes("file", found, {"b": (2, 3)})
        assert str(caught.value).isprintable()
