"""Scores of a model's layers beside scikit-learn's, and what they are chosen with."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from beit.errors import DataError
from beit.evaluation.features.probes import Plan, plan_for, score_model
from beit.evaluation.features.ridge import PENALTIES, choosing_split
from tests.evaluation.features.test_neighbours import clusters

PLAN = Plan(ks=(1, 5, 10), shots=(1, 5), draws=3, seed=0, shares=(0.05, 0.2))
NAMES = list("abcde")


def layers(pictures, seed):
    """Three layers of features of the same pictures: the second is the clearest, the third noise alone."""
    clear, labels = clusters(pictures, seed)
    rng = np.random.default_rng(100 + seed)
    noise = [rng.normal(size=clear.shape).astype(np.float32) for _ in range(2)]
    return [clear + 3 * noise[0], clear, noise[1]], labels


def knn_of(known, labels, asked, asked_labels, k):
    return KNeighborsClassifier(k, metric="cosine").fit(known, labels).score(asked, asked_labels)


def ridge_of(known, labels, asked, asked_labels, penalty):
    scaler = StandardScaler().fit(known.astype(np.float64))
    probe = Ridge(alpha=penalty).fit(scaler.transform(known.astype(np.float64)), np.eye(5)[labels])
    return (probe.predict(scaler.transform(asked.astype(np.float64))).argmax(axis=1) == asked_labels).mean()


def test_every_layer_is_that_of_scikit_learn(data, scores):
    train, labels, val, val_labels = data
    fitted, chosen = choosing_split(len(labels))
    assert len(scores.layers) == 3
    for layer, known, asked in zip(scores.layers, train, val, strict=True):
        held_out = known[fitted], labels[fitted], known[chosen], labels[chosen]
        by_penalty = {penalty: ridge_of(*held_out, penalty) for penalty in PENALTIES}
        assert layer.ridge_held_out == max(by_penalty.values()) == by_penalty[layer.penalty]
        assert layer.ridge == ridge_of(known, labels, asked, val_labels, layer.penalty)
        by_k = {k: knn_of(*held_out, k) for k in PLAN.ks}
        assert layer.knn_held_out == pytest.approx(by_k[layer.k], abs=0.011)  # ties: a picture of a hundred
        assert layer.knn_held_out == pytest.approx(max(by_k.values()), abs=0.011)
        assert layer.knn == pytest.approx(knn_of(known, labels, asked, val_labels, layer.k), abs=0.007)


def test_the_best_layer_is_named(scores):
    assert (scores.knn_layer, scores.ridge_layer) == (2, 2)
    assert scores.knn == scores.layers[1].knn > 0.4
    assert scores.ridge == scores.layers[1].ridge > 0.5


def test_nothing_is_chosen_with_validation_pictures(data, scores):
    train, labels, val, val_labels = data
    noise = [np.random.default_rng(9).normal(size=layer.shape).astype(np.float32) for layer in val]
    other = score_model(train, labels, noise, val_labels[::-1], PLAN)
    assert (other.knn_layer, other.ridge_layer) == (scores.knn_layer, scores.ridge_layer)
    for one, two in zip(scores.layers, other.layers, strict=True):
        assert (one.k, one.penalty, one.knn_held_out) == (two.k, two.penalty, two.knn_held_out)


def test_defaults_are_what_the_pictures_allow():
    many = np.repeat(np.arange(5), 40)
    assert plan_for(many, NAMES, None, None, None, 5, 0) == Plan((1, 5, 10, 20, 50), (1, 5, 10), 5, 0, (0.1,))
    assert plan_for(np.repeat(many, 3), NAMES, None, None, None, 5, 0).shares == (0.01, 0.1)
    few = np.repeat(np.arange(5), 4)
    assert plan_for(few, NAMES, None, None, None, 5, 0).ks == (1, 5, 10)
    assert plan_for(few, NAMES, None, [], None, 5, 0).shots == ()
    assert (
        plan_for(few, NAMES, None, None, [], 5, 0).shares == plan_for(few, NAMES, None, None, None, 5, 0).shares == ()
    )


def test_classes_that_no_picture_is_of_take_no_measurement_away():
    labels = np.repeat(np.array([0, 1, 3, 4]), 40)
    assert plan_for(labels, NAMES, None, None, None, 5, 0) == Plan((1, 5, 10, 20, 50), (1, 5, 10), 5, 0, (0.1,))
    assert plan_for(labels, NAMES, None, [7], [0.5], 5, 0) == Plan((1, 5, 10, 20, 50), (7,), 5, 0, (0.5,))


def test_what_there_are_too_few_pictures_for_is_refused():
    labels = np.repeat(np.arange(5), 8)
    with pytest.raises(DataError, match="k is 31 and there are 30 training pictures to vote, beside 10 to choose with"):
        plan_for(labels, NAMES, [1, 31], None, None, 5, 0)
    with pytest.raises(DataError, match=r"class '.' has \d training pictures to draw from and shots is 9; .*lower --s"):
        plan_for(labels, NAMES, None, [9], None, 5, 0)
    with pytest.raises(DataError, match=r"rarest class has 8 training pictures; expected shares .* from 0.125: raise"):
        plan_for(labels, NAMES, None, None, [0.1, 0.5], 5, 0)
    with pytest.raises(DataError, match="the 30 training pictures to fit to are of 1 class; expected 2 or more"):
        plan_for(np.zeros(40, dtype=np.int64), NAMES, None, None, None, 5, 0)
