"""Scores of patches beside scikit-learn's, and how patches are divided to choose with."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from beit.errors import DataError
from beit.evaluation.features.kept_features import SetFeatures
from beit.evaluation.features.patch_probes import mean_iou, score_patches, split_patches
from beit.evaluation.features.ridge import PENALTIES, choosing_split
from tests.evaluation.features.test_neighbours import clusters
from tests.evaluation.features.test_probes import knn_of, ridge_of

NAMES = list("abcde")
KS = (1, 5, 10)


def patches(pictures, seed):
    """Ten patches of each picture, whose numbers have gaps; the second of two layers is the clearer one."""
    clear, labels = clusters(10 * pictures, seed)
    noise = np.random.default_rng(100 + seed).normal(size=clear.shape).astype(np.float32)
    return SetFeatures([clear + 3 * noise, clear], labels, np.repeat(3 * np.arange(pictures), 10), [])


@pytest.fixture(scope="module")
def data():
    return patches(40, 1), patches(30, 2)


@pytest.fixture(scope="module")
def scores(data):
    return score_patches(*data, 5, split_patches(*data, NAMES, KS))


def test_what_is_fitted_sees_no_patch_of_the_pictures_to_choose_with(data):
    train, val = data
    split = split_patches(train, val, NAMES, None)
    _, chosen = choosing_split(40)
    assert set(train.pictures_P[split.chosen_P]) == set(3 * chosen)
    assert not set(train.pictures_P[split.fitted_P]) & set(train.pictures_P[split.chosen_P])
    assert (split.fitted_P ^ split.chosen_P).all()
    assert split.ks == (1, 5, 10, 20, 50)
    few = patches(4, 3)
    assert split_patches(few, val, NAMES, None).ks == (1, 5, 10, 20)


def test_every_layer_is_that_of_scikit_learn(data, scores):
    train, val = data
    split = split_patches(train, val, NAMES, KS)
    for layer, known, asked in zip(scores.layers, train.layers, val.layers, strict=True):
        held_out = [part for one in (split.fitted_P, split.chosen_P) for part in (known[one], train.labels_P[one])]
        by_penalty = {penalty: ridge_of(*held_out, penalty) for penalty in PENALTIES}
        assert layer.ridge_held_out == max(by_penalty.values()) == by_penalty[layer.penalty]
        assert layer.ridge == ridge_of(known, train.labels_P, asked, val.labels_P, layer.penalty)
        assert layer.knn_held_out == pytest.approx(max(knn_of(*held_out, k) for k in KS), abs=0.011)  # ties
        assert layer.knn == pytest.approx(knn_of(known, train.labels_P, asked, val.labels_P, layer.k), abs=0.007)
        assert 0 < layer.knn_mean_iou < layer.knn
        assert 0 < layer.ridge_mean_iou < layer.ridge
    assert (scores.knn_layer, scores.ridge_layer, scores.few_shot, scores.attentive) == (2, 2, [], None)


def test_nothing_is_chosen_with_validation_patches(data, scores):
    train, val = data
    noise = [np.random.default_rng(9).normal(size=layer.shape).astype(np.float32) for layer in val.layers]
    other = score_patches(train, replace(val, layers=noise), 5, split_patches(train, val, NAMES, KS))
    for one, two in zip(scores.layers, other.layers, strict=True):
        assert (one.k, one.penalty, one.ridge_held_out) == (two.k, two.penalty, two.ridge_held_out)
        assert one.ridge > two.ridge


def test_the_mean_iou_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(4, size=500), rng.integers(1, 5, size=500)
    assert mean_iou(answers, labels, 5) == pytest.approx(jaccard_score(labels, answers, average="macro"))
    assert mean_iou(answers, labels, 9) == mean_iou(answers, labels, 5)  # classes that are nowhere do not count
    assert mean_iou(labels, labels, 5) == 1


def test_patches_that_cannot_be_measured_are_refused(data):
    train, val = data
    nothing = SetFeatures([layer[:0] for layer in train.layers], train.labels_P[:0], train.pictures_P[:0], [])
    with pytest.raises(
        DataError, match=r"no patch of the training pictures has a class, .*; expected pixels of the 5 cl"
    ):
        split_patches(nothing, val, NAMES, None)
    with pytest.raises(DataError, match=r"no patch of the validation pictures has a class, .*: correct label_maps.ign"):
        split_patches(train, nothing, NAMES, None)
    with pytest.raises(
        DataError, match="patches to fit to are all of class 'c'; expected patches of 2 or more classes"
    ):
        split_patches(replace(train, labels_P=np.full(400, 2)), val, NAMES, None)
    with pytest.raises(DataError, match="are of 1 training picture; expected 2 or more"):
        split_patches(replace(train, pictures_P=np.zeros(400, np.int64)), val, NAMES, None)
    with pytest.raises(
        DataError, match="k is 301 and there are 300 training patches to vote, beside 100 to choose with"
    ):
        split_patches(train, val, NAMES, [1, 301])
