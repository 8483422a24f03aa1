"""Scores with few labels: some pictures of each class, or a share of all, drawn again and again.

The classifier alone sees few labels; its layer, and the penalty of a ridge probe, are chosen with many.

Legend: P training pictures, Q validation pictures, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beit.evaluation.features.checks import Features, Labels
from beit.evaluation.features.neighbours import knn_accuracy
from beit.evaluation.features.ridge import RidgeProbe, best_ridge, choosing_split

Pair = tuple[Features, Features]  # of training and validation pictures, in one layer
LabelPair = tuple[Labels, Labels]


@dataclass(frozen=True)
class FewShotScores:
    """Accuracies on validation pictures with a few training pictures per class, in [0, 1].

    Attributes:
        shots: Pictures per class.
        knn: Mean accuracy of the nearest neighbour over the draws, of the layer that the kNN chose.
        knn_spread: Standard deviation over the draws (n - 1); 0 for a single one.
        ridge: The same of the ridge probe, of the layer that it chose.
        ridge_spread: Its standard deviation.
    """

    shots: int
    knn: float
    knn_spread: float
    ridge: float
    ridge_spread: float


@dataclass(frozen=True)
class ShareScores:
    """Accuracies on validation pictures with a share of the labels, in [0, 1].

    Attributes:
        share: Of the training pictures, the same of every class.
        pictures: Training pictures with a label.
        ridge: Mean accuracy of the ridge probe over the draws, of the layer that it chose with all labels.
        ridge_spread: Standard deviation over the draws (n - 1); 0 for a single one.
    """

    share: float
    pictures: int
    ridge: float
    ridge_spread: float


def draw_shots(labels_P: Labels, shots: int, seed: int, draw: int) -> NDArray[np.int64]:
    """Return the numbers of a few random pictures of every class, of those that are fitted to; a function of the rest.

    Args:
        labels_P: Classes of the training pictures (P,), from 0.
        shots: Pictures per class.
        seed: Of all draws.
        draw: Number of the draw.
    """
    fitted, _ = choosing_split(len(labels_P))
    rng = np.random.default_rng([seed, shots, draw])
    groups = [fitted[labels_P[fitted] == label] for label in np.unique(labels_P[fitted])]
    return np.concatenate([rng.permutation(group)[:shots] for group in groups])


def draw_share(labels_P: Labels, share: float, seed: int, draw: int) -> NDArray[np.int64]:
    """Return the numbers of a random share of the pictures of every class, of those that are fitted to.

    Args:
        labels_P: Classes of the training pictures (P,), from 0.
        share: Of all training pictures of a class; no more than are fitted to.
        seed: Of all draws.
        draw: Number of the draw.
    """
    fitted, _ = choosing_split(len(labels_P))
    rng = np.random.default_rng([seed, round(share * 1e6), draw])
    wanted = {label: max(1, round(share * (labels_P == label).sum())) for label in np.unique(labels_P[fitted])}
    groups = [rng.permutation(fitted[labels_P[fitted] == label])[:count] for label, count in wanted.items()]
    return np.concatenate(groups)


def few_shot(for_knn: Pair, for_ridge: Pair, labels: LabelPair, shots: int, draws: int, seed: int) -> FewShotScores:
    """Return the scores with some pictures per class, each classifier with the layer that it chose.

    Args:
        for_knn: Features of the layer of the kNN.
        for_ridge: Features of the layer of the ridge probe.
        labels: Classes of training and validation pictures, from 0.
        shots: Pictures per class.
        draws: Random choices of them.
        seed: Of the choices.
    """
    labels_P, val_labels_Q = labels
    knn, ridge = list[float](), list[float]()
    for draw in range(draws):
        shown = draw_shots(labels_P, shots, seed, draw)
        knn.append(knn_accuracy(for_knn[0][shown], labels_P[shown], for_knn[1], val_labels_Q, 1))
        ridge.append(_probe(for_ridge[0], labels_P, shown).accuracy(for_ridge[1], val_labels_Q))
    return FewShotScores(shots, float(np.mean(knn)), _spread(knn), float(np.mean(ridge)), _spread(ridge))


def with_share(features: Pair, labels: LabelPair, share: float, draws: int, seed: int) -> ShareScores:
    """Return the scores of the ridge probe with a share of the labels.

    Args:
        features: Features of its layer.
        labels: Classes of training and validation pictures, from 0.
        share: Of the training pictures of every class.
        draws: Random choices of them.
        seed: Of the choices.
    """
    labels_P, val_labels_Q = labels
    shown = [draw_share(labels_P, share, seed, draw) for draw in range(draws)]
    ridge = [_probe(features[0], labels_P, few).accuracy(features[1], val_labels_Q) for few in shown]
    return ShareScores(share, len(shown[0]), float(np.mean(ridge)), _spread(ridge))


def _probe(train_PD: Features, labels_P: Labels, shown: NDArray[np.int64]) -> RidgeProbe:
    """Return the probe fitted to few pictures, its penalty chosen with a quarter of all."""
    _, chosen = choosing_split(len(labels_P))
    return best_ridge(train_PD[shown], labels_P[shown], train_PD[chosen], labels_P[chosen])[0]


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
