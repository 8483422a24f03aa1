"""Few labels: how they are drawn, and the scores with them beside scikit-learn's."""

import numpy as np
import pytest

from beit.evaluation.features.few_labels import draw_share, draw_shots
from beit.evaluation.features.probes import Plan, score_model
from beit.evaluation.features.ridge import PENALTIES, choosing_split
from tests.evaluation.features.test_probes import PLAN, knn_of, ridge_of


def best_ridge_of(data, shown):
    """Accuracy of scikit-learn's ridge on the clear layer, its penalty chosen with the quarter that is held out."""
    train, labels, val, val_labels = data
    _, chosen = choosing_split(len(labels))
    known = train[1][shown], labels[shown]
    held_out = {penalty: ridge_of(*known, train[1][chosen], labels[chosen], penalty) for penalty in PENALTIES}
    return ridge_of(*known, val[1], val_labels, max(PENALTIES, key=lambda one: (held_out[one], one)))


def test_few_pictures_are_those_of_scikit_learn(data, scores):
    train, labels, val, val_labels = data
    _, chosen = choosing_split(len(labels))
    for few in scores.few_shot:
        knn, ridge = [], []
        for draw in range(PLAN.draws):
            shown = draw_shots(labels, few.shots, PLAN.seed, draw)
            assert np.bincount(labels[shown]).tolist() == [few.shots] * 5
            assert not set(shown) & set(chosen)
            known = train[1][shown], labels[shown]
            knn.append(knn_of(*known, val[1], val_labels, 1))
            ridge.append(best_ridge_of(data, shown))
        assert (few.knn, few.knn_spread) == pytest.approx((np.mean(knn), np.std(knn, ddof=1)), abs=1e-3)
        assert (few.ridge, few.ridge_spread) == pytest.approx((np.mean(ridge), np.std(ridge, ddof=1)), abs=1e-3)
    assert scores.few_shot[0].ridge < scores.few_shot[1].ridge < scores.ridge


def test_draws_differ_and_come_again(data):
    labels = data[1]
    draws = [draw_shots(labels, 5, seed, draw).tolist() for seed, draw in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert draws[0] == draws[3]
    assert len({tuple(draw) for draw in draws}) == 3
    single = score_model(*data, Plan((1,), (1,), 1, 0)).few_shot[0]
    assert single.knn_spread == single.ridge_spread == 0


def test_a_share_of_the_labels_is_one_of_every_class(data, scores):
    labels = data[1]
    _, chosen = choosing_split(len(labels))
    counts = np.bincount(labels)
    for part in scores.shares:
        drawn = [draw_share(labels, part.share, PLAN.seed, draw) for draw in range(PLAN.draws)]
        for shown in drawn:
            assert np.bincount(labels[shown]).tolist() == [max(1, round(part.share * count)) for count in counts]
            assert not set(shown) & set(chosen)
        assert part.pictures == len(drawn[0])
        ridge = [best_ridge_of(data, shown) for shown in drawn]
        assert (part.ridge, part.ridge_spread) == pytest.approx((np.mean(ridge), np.std(ridge, ddof=1)), abs=1e-3)
    assert [part.share for part in scores.shares] == [0.05, 0.2]
    assert scores.shares[0].ridge < scores.shares[1].ridge < scores.ridge
