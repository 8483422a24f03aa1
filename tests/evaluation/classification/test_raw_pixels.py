"""Classifiers on raw pixels, beside the same in numpy and on pictures that cannot be compared."""

import numpy as np
import pytest
from PIL import Image

from beit.data import few_per_class, open_source
from beit.errors import DataError
from beit.evaluation.classification.raw_pixels import raw_pixel_accuracy


def rows(source):
    return np.stack([np.asarray(source.load(index), dtype=float).ravel() for index in range(len(source))])


def test_the_nearest_picture_and_a_line():
    train, test = few_per_class(open_source("digits:train"), 5, seed=0), open_source("digits:test")
    found = raw_pixel_accuracy(train, test)
    distances = ((rows(test)[:, None] - rows(train)) ** 2).sum(-1)
    assert found.nearest == np.mean(train.labels[distances.argmin(1)] == test.labels)
    assert 0.75 < found.logistic < 0.9


def folder(place, sides):
    for number, side in enumerate(sides):
        (place / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), (number, 0, 0)).save(place / "ab"[number % 2] / f"{number}.png")
    return open_source(str(place))


def test_pictures_of_other_sizes_or_without_classes_are_refused(tmp_path):
    small, large = folder(tmp_path / "small", [8, 8, 8, 8]), folder(tmp_path / "large", [9, 9])
    with pytest.raises(DataError, match="differ in size"):
        raw_pixel_accuracy(small, large)
    with pytest.raises(DataError, match="expected one: resize"):
        raw_pixel_accuracy(folder(tmp_path / "both", [8, 8, 9, 9]), small)
    plain = tmp_path / "plain"
    plain.mkdir()
    Image.new("RGB", (8, 8)).save(plain / "0.png")
    with pytest.raises(DataError, match="no classes"):
        raw_pixel_accuracy(open_source(str(plain)), small)
