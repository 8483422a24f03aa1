"""Folders called `key=value`."""

import pytest

from beit.data.sources.key_folders import labels_of_files, place_of_label, value_of


@pytest.mark.parametrize(
    ("folders", "place"),
    [
        (["label=cat"], 0),
        (["year=2020", "Class=cat"], 1),
        (["cat"], None),
        (["labels"], None),
        (["x=label"], None),
        ([], None),
    ],
)
def test_the_folder_of_the_class(folders, place):
    assert place_of_label(folders) == place


def test_values_have_other_characters_spelled_out():
    assert value_of("label=big%20dog") == "big dog"
    assert value_of("label=a=b") == "a=b"


def test_rows_take_the_class_of_their_file():
    classes, labels = labels_of_files(["x/label=dog/0", "x/label=cat/0", "x/label=dog/1"], [1, 2, 1])
    assert (classes, labels.tolist()) == (["cat", "dog"], [1, 0, 0, 1])
    assert labels_of_files(["x/label=dog/0", "x/0"], [1, 1]) == (None, None)
