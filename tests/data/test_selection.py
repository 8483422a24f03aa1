"""Splits and subsets of a collection."""

import numpy as np
import pytest
from PIL import Image

from beit.data import BatchOrder, Subset, few_per_class, open_source, split, with_classes
from beit.errors import DataError


def test_split_is_stratified_and_complete(pictures):
    source = open_source(str(pictures))
    train, val = split(source, 0.3, seed=1, stratified=True)
    assert np.bincount(val.labels).tolist() == [2, 2]
    names = [part.name(index) for part in (train, val) for index in range(len(part))]
    assert sorted(names) == sorted(source.name(index) for index in range(12))
    assert [val.name(0)] == [split(source, 0.3, seed=1, stratified=True)[1].name(0)]


def test_the_split_of_a_large_collection_is_drawn_once(pictures, monkeypatch, tmp_path):
    """The one that is kept is that which is drawn; other labels, shares and seeds have their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module, source = __import__("beit.data.selection", fromlist=["LARGE"]), open_source(str(pictures))
    drawn, draw = [], module._held_out
    monkeypatch.setattr(module, "_held_out", lambda *args: drawn.append(args) or draw(*args))

    def names(*args, **kwargs):
        return [[part.name(index) for index in range(len(part))] for part in split(source, *args, **kwargs)]

    expected = names(0.3, seed=1, stratified=True)
    monkeypatch.setattr(module, "LARGE", 12)
    drawn.clear()
    assert names(0.3, seed=1, stratified=True) == expected == names(0.3, seed=1, stratified=True)
    assert len(drawn) == 1
    for other in ({"share": 0.5, "seed": 1, "stratified": True}, {"share": 0.3, "seed": 2, "stratified": True}):
        names(**other)
    names(share=0.3, seed=1)
    assert len(drawn) == 4
    source.labels = source.labels[::-1].copy()
    names(0.3, seed=1, stratified=True)
    assert len(drawn) == 5
    for file in (tmp_path / "cache").rglob("*.npz"):
        file.write_bytes(b"damaged")
    source.labels = source.labels[::-1].copy()
    assert names(0.3, seed=1, stratified=True) == expected


class Uncompared(np.ndarray):
    """Labels that are never compared with a class: a look at all of them per class takes an hour of 10^7 pictures."""

    def __eq__(self, other):
        raise AssertionError(f"all labels are compared with {other!r}")

    __ne__ = __eq__
    __hash__ = None


@pytest.mark.parametrize(
    "choose", [lambda source: split(source, 0.3, 1, True), lambda source: few_per_class(source, 9, 1)]
)
def test_labels_are_sorted_once_for_all_classes(choose):
    source = open_source("digits:train")
    source.labels = source.labels.view(Uncompared)
    choose(source)
    with pytest.raises(AssertionError, match="compared with 3"):
        source.labels == 3  # noqa: B015


def test_a_class_with_one_picture_cannot_be_split(pictures):
    (pictures / "eel").mkdir()
    Image.new("RGB", (9, 9)).save(pictures / "eel" / "only.png")
    with pytest.raises(DataError, match="class 'eel' has 1 picture; expected at least 2"):
        split(open_source(str(pictures)), 0.3, seed=0, stratified=True)


def test_a_class_that_a_table_names_and_no_picture_is_of_is_passed_over(pictures):
    source = open_source(str(pictures))
    source.classes, source.labels = ["cat", "cow", "dog"], source.labels * 2
    train, val = split(source, 0.3, seed=0, stratified=True)
    assert [np.bincount(part.labels, minlength=3).tolist() for part in (train, val)] == [[4, 0, 4], [2, 0, 2]]
    assert few_per_class(source, 3, seed=0).labels.tolist() == [0, 0, 0, 2, 2, 2]
    with pytest.raises(DataError, match="has 0 pictures; expected at least 2"):
        split(Subset(source, np.arange(0)), 0.3, seed=0, stratified=True)


def test_few_per_class():
    source = open_source("digits:train")
    some = few_per_class(source, 10, seed=0)
    assert np.bincount(some.labels).tolist() == [10] * 10
    assert some.name(0) != few_per_class(source, 10, seed=1).name(0) or len(some) == len(source)
    with pytest.raises(DataError, match=r"data\.per_class asks for 200"):
        few_per_class(source, 200, seed=0)


def test_few_per_class_needs_labels(pictures):
    with pytest.raises(DataError, match="needs pictures of one class each"):
        few_per_class(open_source(str(pictures / "cat")), 1, seed=0)


class Sharded:
    """A source of digits, said to lie in shards."""

    def __new__(cls):
        source = open_source("digits:train")
        source.shard_sizes = np.array([400, 400, 400, 97])
        return source


def test_parts_of_a_collection_know_their_share_of_each_shard():
    source = Sharded()
    train, val = split(source, 0.2, seed=0)
    assert (train.shard_sizes + val.shard_sizes).tolist() == [400, 400, 400, 97]
    assert train.shard_sizes.sum() == len(train)
    few = few_per_class(train, 5, seed=0)
    assert few.shard_sizes.sum() == 50
    origins = np.array([few.origin(index) for index in range(50)])
    assert np.bincount(origins // 400, minlength=4).tolist() == few.shard_sizes.tolist()
    assert Subset(source, np.array([5, 3])).shard_sizes is None, "not in the order of the shards"


def test_a_split_is_still_read_shard_by_shard():
    train, _ = split(Sharded(), 0.2, seed=0)
    seen = BatchOrder(len(train), 100, 10, 0, window=100, shard_sizes=train.shard_sizes)
    for batch in seen:
        assert len({train.origin(index) // 400 for epoch, index in batch if epoch == 0}) <= 3, (
            "the last shard is smaller"
        )


def test_classes_are_numbered_as_in_another_collection(pictures):
    source = open_source(str(pictures))
    same = with_classes(source, ["ant", "cat", "dog"])
    assert (same.classes, same.labels.tolist()) == (["ant", "cat", "dog"], [1] * 6 + [2] * 6)
    assert same.name(7) == source.name(7)
    assert with_classes(source, ["cat", "dog"]) is source
    with pytest.raises(DataError, match=r"differ in \['dog'\], of which no picture to train on is"):
        with_classes(source, ["cat"])
    source.labels[3] = -1  # what is no class stays none, to be refused by name
    assert with_classes(source, ["ant", "cat", "dog"]).labels[3] == -1
