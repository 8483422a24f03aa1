"""The ridge probe beside scikit-learn's ridge regression."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from beit.errors import DataError
from beit.evaluation.features.ridge import PENALTIES, best_ridge, choosing_split, fit_ridge
from tests.evaluation.features.test_neighbours import clusters


@pytest.mark.parametrize("penalty", [0.5, 100.0])
def test_it_is_that_of_scikit_learn(penalty):
    (train, train_labels), (queries, labels) = clusters(300, 1), clusters(200, 2)
    train[:, 3] = 7.25  # a constant feature
    queries[:, 3] = 7.25
    scaler = StandardScaler().fit(train.astype(np.float64))
    oracle = Ridge(alpha=penalty).fit(scaler.transform(train.astype(np.float64)), np.eye(5)[train_labels])
    predicted = oracle.predict(scaler.transform(queries.astype(np.float64)))
    probe = fit_ridge(train, train_labels, penalty)
    assert probe.scores(queries) == pytest.approx(predicted, abs=1e-9)
    expected = (predicted.argmax(1) == labels).mean()
    assert probe.accuracy(queries, labels) == expected
    assert expected > 0.5


@pytest.mark.parametrize("width", [41, 100, 20_000])  # a matrix of the last by itself would be 3 GB
def test_more_features_than_pictures(width):
    train, labels = clusters(40, 1, width=width)
    scaled = StandardScaler().fit_transform(train.astype(np.float64))
    oracle = Ridge(alpha=3.0).fit(scaled, np.eye(5)[labels])
    assert fit_ridge(train, labels, 3.0).scores(train) == pytest.approx(oracle.predict(scaled), abs=1e-8)


def test_the_penalty_is_chosen_on_training_pictures():
    (noisy, labels), (clear, clear_labels) = clusters(200, 1, width=150), clusters(2000, 1)
    noisy += 8 * np.random.default_rng(5).normal(size=noisy.shape).astype(np.float32)
    assert fit_ridge(noisy, labels).penalty >= 100
    assert fit_ridge(clear, clear_labels).penalty in PENALTIES
    assert fit_ridge(noisy[:2], np.array([0, 1])).penalty in PENALTIES  # too few to choose with


def test_the_best_probe_on_other_pictures():
    (train, labels), (others, other_labels) = clusters(200, 1), clusters(90, 2)
    probe, accuracy = best_ridge(train, labels, others, other_labels)
    accuracies = {penalty: fit_ridge(train, labels, penalty).accuracy(others, other_labels) for penalty in PENALTIES}
    assert accuracy == max(accuracies.values()) == accuracies[probe.penalty]
    assert probe.penalty == max(penalty for penalty in PENALTIES if accuracies[penalty] == accuracy)
    fitted, chosen = choosing_split(200)
    assert (len(fitted), len(chosen)) == (150, 50)
    assert sorted([*fitted, *chosen]) == list(range(200))
    own, _ = best_ridge(train[fitted], labels[fitted], train[chosen], labels[chosen])
    assert fit_ridge(train, labels).penalty == own.penalty


def test_what_cannot_be_fitted_is_refused():
    train, labels = clusters(10, 1)
    with pytest.raises(DataError, match="the labels of 10 pictures are of 1 class; expected 2 or more"):
        fit_ridge(train, np.zeros(10, dtype=int))
    with pytest.raises(DataError, match="3 labels for 10 pictures"):
        fit_ridge(train, np.where(np.arange(10) < 3, labels, -1))
    with pytest.raises(DataError, match=r"the ridge penalty is 0; expected a number above 0"):
        fit_ridge(train, labels, 0)
