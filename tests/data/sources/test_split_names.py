"""Names of splits."""

import pytest

from beit.data.sources.split_names import (
    are_scenes,
    are_splits,
    named_split,
    pictures_and_maps,
    rows_of_splits,
    split_kind,
)
from beit.errors import DataError


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[(name, "train") for name in ("train", "TRAINING", "train2017", "Train_images")],
        *[(name, "validation") for name in ("val", "valid", "dev")],
        *[(name, "test") for name in ("test set", "testing", "seg_test")],
        *[(name, None) for name in ("trains", "train station", "cat", "test_train", "")],
    ],
)
def test_kinds(name, kind):
    assert split_kind(name) == kind


def test_splits_are_of_two_kinds():
    assert are_splits(["train", "val2017", "extra"])
    assert not are_splits(["train", "training"])
    assert not are_splits(["test", "car"])


def test_a_name_means_itself_or_the_only_one_of_its_kind():
    assert named_split("val", ["train", "val"]) == "val"
    assert named_split("validation", ["train", "val2017"]) == "val2017"
    assert named_split("val", ["dev", "eval"]) is None
    assert named_split("car", ["train", "val"]) is None


@pytest.mark.parametrize(
    "names",
    [("images", "masks"), ("train", "train_masks"), ("train_images", "train_labels"), ("images_val", "annotations_val"),
     ("Train", "Train-GroundTruth"), ("JPEGImages", "SegmentationClass", "SegmentationObject")],
)  # fmt: skip
def test_pictures_beside_label_maps(names):
    assert are_scenes(names)
    assert not are_scenes(names[:1])
    assert not are_scenes([*names, "cat"])
    if len(names) == 2:
        assert pictures_and_maps(names[::-1]) == names


def test_words_that_only_begin_like_splits_are_classes():
    assert not are_scenes(["devices", "masks"])
    assert not are_scenes(["train station", "masks"])


def test_cells_that_divide_rows():
    assert rows_of_splits("set", ["Train", "val", "Train"]) == ["Train", "val", "Train"]
    assert rows_of_splits("Is_Valid", [False, True]) == ["train", "val"]
    assert rows_of_splits("is_valid", ["maybe", "True"]) is None
    assert rows_of_splits("set", ["train", "bus", None]) is None
    assert rows_of_splits("set", ["train", "train"]) is None
    with pytest.raises(DataError, match="the column 'set' divides the rows into splits, and 1 of 3 are of none"):
        rows_of_splits("set", ["train", "val", None])
