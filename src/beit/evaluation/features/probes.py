"""Scores of the features of one model: kNN and ridge probe of every layer, and with few labels.

Whatever is chosen (the layer, k, the ridge penalty) is chosen on a quarter of the training pictures by what is fitted
to the others. The validation pictures are only measured.

Legend: P training pictures, Q validation pictures, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beit.errors import DataError
from beit.evaluation.features.attentive import AttentiveScores
from beit.evaluation.features.checks import Features, Labels
from beit.evaluation.features.few_labels import FewShotScores, ShareScores, few_shot, with_share
from beit.evaluation.features.neighbours import knn_accuracies, knn_accuracy
from beit.evaluation.features.ridge import best_ridge, choosing_split, fit_ridge

DEFAULT_K = (1, 5, 10, 20, 50)
DEFAULT_SHOTS = (1, 5, 10)
DEFAULT_LABEL_SHARES = (0.01, 0.1)


@dataclass(frozen=True)
class Plan:
    """Measurements to make.

    Attributes:
        ks: Numbers of neighbours, one of which is chosen per layer.
        shots: Pictures per class in the few-shot measurements.
        draws: Random choices of these.
        seed: Of the choices.
        shares: Shares of the labels in the measurements of the ridge probe with fewer of them.
    """

    ks: tuple[int, ...]
    shots: tuple[int, ...]
    draws: int
    seed: int
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class LayerScores:
    """Accuracies of one layer, in [0, 1].

    Attributes:
        knn: Of the kNN on validation pictures, all training pictures being the bank.
        k: Its neighbours, as chosen.
        knn_held_out: Its accuracy on the training pictures that it was chosen with.
        ridge: Of the ridge probe on validation pictures, fitted to all training pictures.
        penalty: Its penalty, as chosen.
        ridge_held_out: Its accuracy on the training pictures that it was chosen with.
    """

    knn: float
    k: int
    knn_held_out: float
    ridge: float
    penalty: float
    ridge_held_out: float


@dataclass(frozen=True)
class ModelScores:
    """Scores of one model.

    Attributes:
        layers: Of every layer, from the first.
        knn_layer: The layer that the kNN does best with on held-out training pictures, from 1.
        ridge_layer: The same of the ridge probe.
        few_shot: In the order of the plan.
        attentive: Of an attentive probe of the layer that the ridge probe chose; None without one.
        shares: With shares of the labels, in the order of the plan.
    """

    layers: list[LayerScores]
    knn_layer: int
    ridge_layer: int
    few_shot: list[FewShotScores]
    attentive: AttentiveScores | None = None
    shares: Sequence[ShareScores] = ()

    @property
    def knn(self) -> float:
        """Accuracy of the kNN with the layer that was chosen."""
        return self.layers[self.knn_layer - 1].knn

    @property
    def ridge(self) -> float:
        """Accuracy of the ridge probe with the layer that was chosen."""
        return self.layers[self.ridge_layer - 1].ridge


def plan_for(
    labels_P: Labels,
    classes: Sequence[str],
    ks: Sequence[int] | None,
    shots: Sequence[int] | None,
    shares: Sequence[float] | None,
    draws: int,
    seed: int,
) -> Plan:
    """Return the measurements that some training pictures allow.

    Args:
        labels_P: Classes of the training pictures (P,), from 0.
        classes: Their names.
        ks: Numbers of neighbours; None for those of `DEFAULT_K` that there are enough pictures for.
        shots: Pictures per class; None for those of `DEFAULT_SHOTS` that every class has.
        shares: Shares of the labels; None for those of `DEFAULT_LABEL_SHARES` that leave every class a picture.
        draws: Random choices of these.
        seed: Of the choices.

    Raises:
        DataError: If there are fewer than two classes among the pictures to fit to, or too few pictures for what is
            asked for.
    """
    fitted, _ = choosing_split(len(labels_P))
    counts = np.bincount(labels_P[fitted], minlength=len(classes))
    if (counts > 0).sum() < 2:
        raise DataError(
            f"the {len(fitted)} training pictures to fit to are of {(counts > 0).sum()} class; expected 2 or more: add "
            "pictures of other classes, or raise --pictures"
        )
    if ks is not None and max(ks) > len(fitted):
        raise DataError(
            f"k is {max(ks)} and there are {len(fitted)} training pictures to vote, beside "
            f"{len(labels_P) - len(fitted)} to choose with; expected k up to their number: lower --k, or add pictures"
        )
    all_counts = np.bincount(labels_P, minlength=len(classes))
    there = np.flatnonzero(all_counts)  # tables may name classes that no picture is of
    fewest = int(there[counts[there].argmin()])
    if shots and max(shots) > counts[fewest]:
        raise DataError(
            f"class {classes[fewest]!r} has {counts[fewest]} training pictures to draw from and shots is {max(shots)}; "
            "expected no more than every class has: lower --shots, raise --pictures, or add pictures"
        )
    rarest = int(all_counts[there].min())
    if shares and min(shares) * rarest < 1:
        raise DataError(
            f"label_shares is {list(shares)} and the rarest class has {rarest} training pictures; expected shares that "
            f"leave it one, from {1 / rarest:.3g}: raise --label_shares or --pictures, or add pictures"
        )
    if shares is None:
        shares = [share for share in DEFAULT_LABEL_SHARES if share * rarest >= 1]
    return Plan(
        tuple(ks) if ks is not None else tuple(k for k in DEFAULT_K if k <= len(fitted)),
        tuple(shots) if shots is not None else tuple(count for count in DEFAULT_SHOTS if count <= counts[fewest]),
        draws,
        seed,
        tuple(shares),
    )


def score_model(
    train: Sequence[Features], labels_P: Labels, val: Sequence[Features], val_labels_Q: Labels, plan: Plan
) -> ModelScores:
    """Return the scores of a model.

    Args:
        train: Features of the training pictures (P, D) of every layer, from the first.
        labels_P: Their classes (P,), from 0.
        val: Features of the validation pictures (Q, D) of every layer.
        val_labels_Q: Their classes (Q,).
        plan: The measurements.

    Raises:
        DataError: If features are not finite, or there are too few pictures or classes.
    """
    pairs = zip(train, val, strict=True)
    layers = [_layer(train_PD, labels_P, val_QD, val_labels_Q, plan.ks) for train_PD, val_QD in pairs]
    knn = max(range(len(layers)), key=lambda layer: layers[layer].knn_held_out)  # of equally good ones the first
    ridge = max(range(len(layers)), key=lambda layer: layers[layer].ridge_held_out)
    labels, draws = (labels_P, val_labels_Q), (plan.draws, plan.seed)
    for_knn, for_ridge = (train[knn], val[knn]), (train[ridge], val[ridge])
    few = [few_shot(for_knn, for_ridge, labels, shots, *draws) for shots in plan.shots]
    shares = [with_share(for_ridge, labels, share, *draws) for share in plan.shares]
    return ModelScores(layers, knn + 1, ridge + 1, few, shares=shares)


def _layer(
    train_PD: Features, labels_P: Labels, val_QD: Features, val_labels_Q: Labels, ks: Sequence[int]
) -> LayerScores:
    """Return the scores of one layer."""
    fitted, chosen = choosing_split(len(labels_P))
    known, asked = (train_PD[fitted], labels_P[fitted]), (train_PD[chosen], labels_P[chosen])
    tried = knn_accuracies(*known, *asked, ks)
    k = max(tried, key=lambda k: (tried[k], k))  # of equally good ones the largest, as of penalties
    probe, held_out = best_ridge(*known, *asked)
    return LayerScores(
        knn=knn_accuracy(train_PD, labels_P, val_QD, val_labels_Q, k),
        k=k,
        knn_held_out=tried[k],
        ridge=fit_ridge(train_PD, labels_P, probe.penalty).accuracy(val_QD, val_labels_Q),
        penalty=probe.penalty,
        ridge_held_out=held_out,
    )
