"""Ridge probe: a linear classifier of frozen features in closed form.

Legend: P training pictures, Q queries, D features, K classes, E the smaller of P and D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beit.errors import DataError
from beit.evaluation.features.checks import Features, Labels, check_labelled, check_same_width

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
_CHOOSING_SHARE = 0.25  # of the training pictures
_LEAST_VARIANCE = 1e-12  # of a feature beside the largest one; less is taken for constant
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class RidgeProbe:
    """A fitted probe.

    Attributes:
        mean_D: Means of the training features (D,).
        scale_D: Their standard deviations (D,); 1 where a feature is constant.
        weight_DK: Weights of the standardised features (D, K).
        bias_K: Shares of the classes among the training pictures (K,).
        penalty: The ridge penalty, scikit-learn's `alpha`.
    """

    mean_D: Matrix
    scale_D: Matrix
    weight_DK: Matrix
    bias_K: Matrix
    penalty: float

    def scores(self, features_QD: Features) -> Matrix:
        """Return a score per class (Q, K), about 1 for the right one and 0 for the others."""
        return (features_QD - self.mean_D) / self.scale_D @ self.weight_DK + self.bias_K

    def answers(self, features_QD: Features) -> NDArray[np.int64]:
        """Return the class with the highest score (Q,)."""
        return self.scores(features_QD).argmax(axis=1)

    def accuracy(self, features_QD: Features, labels_Q: Labels) -> float:
        """Return the top-1 accuracy, in [0, 1].

        Raises:
            DataError: If some pictures have no label, or other features than those of the training.
        """
        check_labelled(features_QD, labels_Q)
        check_same_width(self.mean_D[None], features_QD)
        return float((self.answers(features_QD) == labels_Q).mean())


def fit_ridge(features_PD: Features, labels_P: Labels, penalty: float | None = None) -> RidgeProbe:
    """Fit a ridge probe: one-vs-rest targets 0 and 1, least squares of standardised features.

    Minimises |Y - X W - b|^2 + penalty |W|^2, solved from a Gram matrix in float64, of the features or, where there are
    fewer, of the pictures; equal to scikit-learn's `Ridge(alpha=penalty)` on the same standardised features and
    targets.

    Args:
        features_PD: Features of training pictures (P, D).
        labels_P: Their classes (P,), from 0.
        penalty: Above 0; None takes the one of `PENALTIES` that does best on a random quarter of these pictures when
            it is fitted to the others.

    Raises:
        DataError: If there are fewer than two classes, or some pictures have no label.
    """
    check_labelled(features_PD, labels_P, classes=2)
    if penalty is None:
        penalty = _chosen_penalty(features_PD, labels_P)
    if not penalty > 0:
        raise DataError(f"the ridge penalty is {penalty}; expected a number above 0, such as 100")
    return _fits(features_PD, labels_P, [penalty])[0]


def choosing_split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (fitted, chosen): numbers of training pictures to fit to, and of a random quarter to choose with.

    The same for the same number of pictures.
    """
    order_P = np.random.default_rng(0).permutation(count)
    held_out = max(1, round(_CHOOSING_SHARE * count))
    return order_P[held_out:], order_P[:held_out]


def best_ridge(
    features_PD: Features, labels_P: Labels, chosen_QD: Features, chosen_labels_Q: Labels
) -> tuple[RidgeProbe, float]:
    """Return the probe with the penalty of `PENALTIES` that does best on other pictures, and its accuracy on them.

    Of equally good ones it is that of the largest penalty.

    Args:
        features_PD: Features of the pictures that the probes are fitted to (P, D).
        labels_P: Their classes (P,), from 0.
        chosen_QD: Features of the pictures that the penalty is chosen with (Q, D).
        chosen_labels_Q: Their classes (Q,).

    Raises:
        DataError: As `fit_ridge`.
    """
    check_labelled(features_PD, labels_P, classes=2)
    probes = _fits(features_PD, labels_P, PENALTIES)
    accuracy, _, probe = max(
        ((probe.accuracy(chosen_QD, chosen_labels_Q), probe.penalty, probe) for probe in probes),
        key=lambda tried: tried[:2],
    )
    return probe, accuracy


def _chosen_penalty(features_PD: Features, labels_P: Labels) -> float:
    """Return the penalty that does best on a part of the training pictures."""
    fitted, chosen = choosing_split(len(labels_P))
    if len(np.unique(labels_P[fitted])) < 2:
        return PENALTIES[len(PENALTIES) // 2]  # too few pictures to choose with
    return best_ridge(features_PD[fitted], labels_P[fitted], features_PD[chosen], labels_P[chosen])[0].penalty


def _fits(features_PD: Features, labels_P: Labels, penalties: Sequence[float]) -> list[RidgeProbe]:
    """Return a probe per penalty, all from one eigendecomposition of the Gram matrix."""
    wide_PD = features_PD.astype(np.float64)
    mean_D, scale_D = wide_PD.mean(axis=0), wide_PD.std(axis=0)
    scale_D[scale_D <= _LEAST_VARIANCE * max(1.0, float(np.abs(wide_PD).max()))] = 1.0
    wide_PD = (wide_PD - mean_D) / scale_D
    targets_PK = np.eye(1 + int(labels_P.max()))[labels_P]
    bias_K = targets_PK.mean(axis=0)
    if len(wide_PD) < len(mean_D):  # the same weights, as (X'X + c)^-1 X' = X' (XX' + c)^-1, from the smaller matrix
        values_E, vectors_PE = np.linalg.eigh(wide_PD @ wide_PD.T)
        basis_DE, turned_EK = wide_PD.T @ vectors_PE, vectors_PE.T @ (targets_PK - bias_K)
    else:
        values_E, basis_DE = np.linalg.eigh(wide_PD.T @ wide_PD)
        turned_EK = basis_DE.T @ (wide_PD.T @ (targets_PK - bias_K))
    weights = (basis_DE @ (turned_EK / (values_E.clip(min=0)[:, None] + penalty)) for penalty in penalties)
    return [
        RidgeProbe(mean_D, scale_D, weight_DK, bias_K, penalty)
        for weight_DK, penalty in zip(weights, penalties, strict=True)
    ]
