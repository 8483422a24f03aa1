from types import SimpleNamespace

import numpy as np
import pytest

from beit.errors import DataError
from beit.evaluation.classification.classes import class_indices

IMAGENET = ["tench, Tinca tinca", "goldfish, Carassius auratus", "crane", "crane", "great white shark, white shark"]
WORDNET = ["n01440764", "n01443537", "n01484850", "n01491361", "n01494475"]
UNNAMED = [f"LABEL_{index}" for index in range(5)]


def source(classes, labels=None, kind="class"):
    count = len(classes or ())
    labels = np.arange(count) if labels is None else np.array(labels)
    return SimpleNamespace(classes=classes, labels=labels, label_kind=kind, name=lambda index: f"picture {index}")


@pytest.mark.parametrize(
    ("classes", "names", "expected", "how"),
    [
        (["cat", "dog"], ["dog", "emu", "cat"], [2, 0], "name"),
        (["Great_White-shark", "goldfish"], IMAGENET, [4, 1], "name"),
        (["Tinca tinca"], IMAGENET, [0], "name"),
        (["0", "3"], UNNAMED, [0, 3], "index"),
        (["003", "001"], ["a", "b", "c", "d"], [3, 1], "index"),
        (IMAGENET, IMAGENET, [0, 1, 2, 3, 4], "name"),
        (["2", "1"], ["1", "2"], [1, 0], "name"),
    ],
)
def test_matching(classes, names, expected, how):
    indices, matched = class_indices(source(classes), names)
    assert (indices.tolist(), matched) == (expected, how)


def test_exact_names_win_over_alike_ones():
    assert class_indices(source(["Cat", "cat"]), ["cat", "Cat"])[0].tolist() == [1, 0]


def test_sorted_order():
    indices, matched = class_indices(source(WORDNET), UNNAMED, "order")
    assert (indices.tolist(), matched) == ([0, 1, 2, 3, 4], "order")


@pytest.mark.parametrize(
    ("classes", "names", "message"),
    [
        (WORDNET, UNNAMED, r"does not know 5 of .* 5 classes, such as \['n01440764'.* its 5 classes have no names"),
        (WORDNET, IMAGENET, r"in sorted order .* \(as it is in ImageNet-1K\), add --match order, else rename"),
        (WORDNET[:2], IMAGENET, "name the class folders as the model does, or by its indices, 0 to 4"),
        (["cat", "emu"], ["cat", "dog"], r"does not know 1 of .* such as \['emu'\].* add --match order"),
        (["crane"], IMAGENET, r"more than one class of the model or .* such as \['crane'\]"),
        (["1", "5"], UNNAMED, "expected numbers from 0 to 4"),
        (["0", "1"], ["1", "2"], r"does not know 1 of .* such as \['0'\]"),
        (
            ["cat", "Cat"],
            ["cat", "dog"],
            r"more than one class of the model or of the pictures .* such as \['cat', 'Cat'\]",
        ),
    ],
)
def test_what_cannot_be_matched_says_what_to_do(classes, names, message):
    with pytest.raises(DataError, match=message):
        class_indices(source(classes), names)


def test_order_needs_as_many_classes():
    with pytest.raises(DataError, match="the pictures have 4 classes and the model 5; match=order needs as many"):
        class_indices(source(WORDNET[:4]), UNNAMED, "order")


def test_a_label_out_of_range_is_named_with_its_picture():
    with pytest.raises(DataError, match=r"picture 1 has the label -1, one of 2 among 3 .* expected 0 to 1"):
        class_indices(source(["cat", "dog"], [0, -1, 2]), ["cat", "dog"])


def test_labels_of_pictures_with_several_are_matched_alike():
    hot = np.array([[1.0, 0], [1, 1]], dtype=np.float32)
    assert class_indices(source(["cat", "dog"], hot, "labels"), ["dog", "emu", "cat"])[0].tolist() == [2, 0]
    with pytest.raises(DataError, match=r"does not know 1 of .*\['cow'\].*: name the labels as the model does"):
        class_indices(source(["cat", "cow"], hot, "labels"), ["dog", "emu", "cat"])
