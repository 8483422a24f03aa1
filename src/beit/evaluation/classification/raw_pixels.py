"""Classifiers on raw pixels, for small pictures of one size: what a model has to surpass to have learnt anything."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from beit.data import ImageSource
from beit.errors import DataError, missing_extra

_REGULARISATION = 10.0  # scikit-learn's C; weaker than its default, which suits few pictures of few pixels
_MOST_ITERATIONS = 1000


class RawPixelAccuracy(NamedTuple):
    """Accuracies of two classifiers that are given nothing but pixels.

    Attributes:
        nearest: Of the class of the nearest training picture (Euclidean).
        logistic: Of a logistic regression.
    """

    nearest: float
    logistic: float


def raw_pixel_accuracy(train: ImageSource, test: ImageSource) -> RawPixelAccuracy:
    """Return the accuracies of the nearest neighbour and of logistic regression on raw pixels.

    Args:
        train: Pictures of one class each, all of one size.
        test: Others, of the same classes and size.

    Raises:
        DataError: If there are no such labels, the sizes differ, or a picture is broken.
        MissingExtraError: If scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
    except ImportError:
        raise missing_extra("scikit-learn", "train") from None
    classifiers: list[Any] = [
        KNeighborsClassifier(1),
        LogisticRegression(C=_REGULARISATION, max_iter=_MOST_ITERATIONS),
    ]
    known, truth = _labels(train), _labels(test)
    pixels, shown = _pixels(train), _pixels(test)
    if pixels.shape[1] != shown.shape[1]:
        raise DataError("pictures to learn from and to test on differ in size; expected one size: resize them")
    found = [classifier.fit(pixels, known).predict(shown) for classifier in classifiers]
    return RawPixelAccuracy(*(float(np.mean(guesses == truth)) for guesses in found))


def _labels(source: ImageSource) -> NDArray[np.int64]:
    if source.labels is None or source.label_kind != "class":
        raise DataError("the pictures have no classes; expected one class each: put them into one folder per class")
    return source.labels


def _pixels(source: ImageSource) -> NDArray[np.float32]:
    """Return all values of all pictures in [0, 1], a row each."""
    pictures = [np.asarray(source.load(index)) for index in range(len(source))]
    if sizes := {picture.shape for picture in pictures} - {pictures[0].shape}:
        raise DataError(f"pictures have sizes {[pictures[0].shape, *sizes]}; expected one: resize them")
    return np.stack(pictures).reshape(len(pictures), -1).astype(np.float32) / np.float32(255)
