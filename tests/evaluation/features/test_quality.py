"""Quality of every layer on fixed pictures, with labels and without."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from beit.data import Augmentation, Subset, Views, open_source
from beit.evaluation.features.layers import pixel_features
from beit.evaluation.features.quality import FeatureQuality, best_of
from beit.image import Preprocessing

PLAIN = Views(Preprocessing.cropping((8, 8), 1.0))
RANDOM = Views(Preprocessing.cropping((8, 8), 1.0), Augmentation(crop_scale=(0.5, 1.0)))
BANK = Subset(open_source("digits:train"), np.arange(600))
QUERIES = Subset(open_source("digits:test"), np.arange(200))


def quality(bank=BANK, queries=QUERIES, k=5):
    return FeatureQuality(bank, queries, PLAIN, RANDOM, k, 100, workers=0)


def two_layers(tensors):
    """Noise that is no function of the picture's class, then its pixels."""
    (pixels,) = pixel_features(tensors)
    return [(1000 * pixels).sin() + (777 * pixels.roll(1, 2)).cos(), pixels]


def flat(source):
    """Pixels and classes, opened without this package's passes."""
    pixels = [np.asarray(source.load(index), dtype=np.float64).ravel() / 127.5 - 1 for index in range(len(source))]
    return np.stack(pixels), source.labels


@pytest.mark.e2e
def test_training_pictures_are_the_bank_and_held_out_ones_the_queries():
    measured = quality()
    assert measured.unlabelled is None
    assert measured.measures == ("knn", "ridge", "rankme")
    noise, pixels = measured.measure(two_layers)
    expected = KNeighborsClassifier(5, metric="cosine").fit(*flat(BANK)).score(*flat(QUERIES))
    assert pixels["knn"] == pytest.approx(expected, abs=0.006)
    assert expected > 0.8
    assert pixels["ridge"] > 0.7
    assert noise["knn"] < pixels["knn"]
    assert noise["rankme"] > 1
    assert pixels["position_spread"] == 0
    assert measured.measure(two_layers) == [noise, pixels]


def test_without_labels_views_have_to_find_each_other():
    bank = Subset(open_source("digits:train"), np.arange(100))
    bank.labels = None
    measured = quality(bank)
    assert "no label" in measured.unlabelled
    assert measured.measures == ("retrieval", "rankme")
    noise, pixels = measured.measure(two_layers)
    assert pixels.keys() == {"retrieval", "rankme", "position_spread"}
    assert 1 / 200 < pixels["retrieval"] < 1
    assert noise["retrieval"] < pixels["retrieval"]


def test_a_single_held_out_picture_without_labels_has_nothing_to_be_found_among():
    bank = Subset(open_source("digits:train"), np.arange(100))
    bank.labels = None
    measured = quality(bank, Subset(open_source("digits:test"), np.arange(1)))
    assert measured.measures == ("rankme",)
    (row,) = measured.measure(pixel_features)
    assert row.keys() == {"rankme", "position_spread"}
    assert best_of([row])["rankme_layer"] == 1


def test_the_best_of_every_measure():
    rows = [
        {"knn": 0.3, "ridge": 0.6, "rankme": 4.0, "position_spread": 0.1},
        {"knn": 0.5, "ridge": 0.4, "rankme": 3.0, "position_spread": 0.2},
        {"knn": 0.5, "ridge": 0.2, "rankme": 9.0, "position_spread": 0.3},
    ]
    assert best_of(rows) == {
        "knn": 0.5, "knn_layer": 2, "ridge": 0.6, "ridge_layer": 1, "rankme": 9.0, "rankme_layer": 3,
        "position_spread": 0.2,
    }  # fmt: skip
