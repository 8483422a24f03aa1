"""Nearest neighbours beside scikit-learn's, and the retrieval of views."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from beit.errors import DataError
from beit.evaluation.features.neighbours import knn_accuracies, knn_accuracy, knn_answers, view_retrieval


def clusters(pictures, seed, classes=5, width=24):
    """Features around a centre per class, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=pictures)
    centres = np.random.default_rng(0).normal(size=(classes, width))
    return (centres[labels] + 2.5 * rng.normal(size=(pictures, width))).astype(np.float32), labels


@pytest.mark.parametrize("k", [1, 5, 20])
def test_it_is_that_of_scikit_learn(k):
    (bank, bank_labels), (queries, labels) = clusters(700, 1), clusters(1100, 2)  # more than a block of queries
    expected = KNeighborsClassifier(k, metric="cosine").fit(bank, bank_labels).score(queries, labels)
    assert knn_accuracy(bank, bank_labels, queries, labels, k) == pytest.approx(expected, abs=1e-3)
    assert 0.3 < expected < 0.98


def test_several_k_from_one_search():
    (bank, bank_labels), (queries, labels) = clusters(700, 1), clusters(1100, 2)
    found = knn_accuracies(bank, bank_labels, queries, labels, [20, 1, 5])
    assert list(found) == [20, 1, 5]
    assert found == {k: knn_accuracy(bank, bank_labels, queries, labels, k) for k in (20, 1, 5)}


def test_answers_are_those_of_the_vote():
    (bank, bank_labels), (queries, labels) = clusters(700, 1), clusters(1100, 2)
    found = knn_answers(bank, bank_labels, queries, [5])[5]
    expected = KNeighborsClassifier(5, metric="cosine").fit(bank, bank_labels).predict(queries)
    assert (found == expected).mean() > 0.999
    assert knn_accuracy(bank, bank_labels, queries, labels, 5) == (found == labels).mean()


def test_only_the_direction_of_features_counts():
    (bank, bank_labels), (queries, labels) = clusters(100, 1), clusters(50, 2)
    scaled = bank * np.random.default_rng(3).uniform(0.1, 10, size=(100, 1))
    assert knn_accuracy(scaled, bank_labels, queries, labels, 5) == knn_accuracy(bank, bank_labels, queries, labels, 5)


def test_what_cannot_be_measured_is_refused():
    bank, labels = clusters(10, 1)
    with pytest.raises(DataError, match="k is 11 and there are 10 labelled pictures; expected k from 1"):
        knn_accuracy(bank, labels, bank, labels, 11)
    some = np.where(np.arange(10) < 4, labels, -1)
    with pytest.raises(DataError, match="4 labels for 10 pictures; expected a class from 0 for each: leave out"):
        knn_accuracy(bank, some, bank, labels, 3)
    with pytest.raises(DataError, match="9 labels for 10 pictures"):
        knn_accuracy(bank, labels[:9], bank, labels, 3)
    with pytest.raises(DataError, match="there are 24 and 23 features per picture; expected those of one layer"):
        knn_accuracy(bank, labels, bank[:, :23], labels, 3)
    broken = bank.copy()
    broken[7, 3] = np.nan
    with pytest.raises(DataError, match="the features of 1 of 10 pictures are not finite, the first is picture 7"):
        knn_accuracy(broken, labels, bank, labels, 3)


def test_two_views_find_each_other_among_all():
    one = np.random.default_rng(0).normal(size=(600, 32)).astype(np.float32)
    assert view_retrieval(one, 3 * one) == 1.0
    other = one + np.float32(1.5) * np.random.default_rng(1).normal(size=one.shape).astype(np.float32)
    similar = (one / np.linalg.norm(one, axis=1)[:, None]) @ (other / np.linalg.norm(other, axis=1)[:, None]).T
    own = np.arange(600)
    expected = ((similar.argmax(1) == own).mean() + (similar.argmax(0) == own).mean()) / 2
    assert view_retrieval(one, other) == pytest.approx(expected, abs=1e-3)
    assert 0.2 < expected < 0.9
    assert view_retrieval(np.ones((5, 3)), np.ones((5, 3))) == 0.0  # all alike: nothing is found
    with pytest.raises(DataError, match=r"\(600, 32\) and \(5, 32\); expected two of every picture"):
        view_retrieval(one, one[:5])
