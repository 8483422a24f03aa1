"""Nearest neighbours by cosine similarity: classification by the nearest labelled pictures, and retrieval of views.

The search is exact, by blocks of products, so that memory does not grow with the number of queries.

Legend: P pictures of the bank, Q queries, D features, K classes, k neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beit.errors import DataError
from beit.evaluation.features.checks import Features, Labels, check_features, check_labelled, check_same_width

_BLOCK = 512  # queries at once


def knn_accuracy(
    bank_PD: Features, bank_labels_P: Labels, queries_QD: Features, query_labels_Q: Labels, k: int
) -> float:
    """Return the top-1 accuracy of a vote of the k nearest pictures of the bank, in [0, 1].

    Every neighbour has one vote; of classes with equally many the first wins. Equal to scikit-learn's
    `KNeighborsClassifier(k, metric="cosine")` up to ties.

    Args:
        bank_PD: Features of labelled training pictures (P, D).
        bank_labels_P: Their classes (P,), from 0.
        queries_QD: Features of held-out pictures (Q, D).
        query_labels_Q: Their classes (Q,).
        k: Neighbours that vote, 1 to P.

    Raises:
        DataError: If the bank has fewer than k pictures, or some pictures have no label.
    """
    return knn_accuracies(bank_PD, bank_labels_P, queries_QD, query_labels_Q, [k])[k]


def knn_accuracies(
    bank_PD: Features, bank_labels_P: Labels, queries_QD: Features, query_labels_Q: Labels, ks: Sequence[int]
) -> dict[int, float]:
    """Return the same for several k, by k, from one search.

    Raises:
        DataError: As `knn_accuracy`.
    """
    check_labelled(queries_QD, query_labels_Q)
    answers = knn_answers(bank_PD, bank_labels_P, queries_QD, ks)
    return {k: float((answers_Q == query_labels_Q).mean()) for k, answers_Q in answers.items()}


def knn_answers(
    bank_PD: Features, bank_labels_P: Labels, queries_QD: Features, ks: Sequence[int]
) -> dict[int, NDArray[np.int64]]:
    """Return the class of every query (Q,) by the vote of its nearest, for several k, by k, from one search.

    Raises:
        DataError: As `knn_accuracy`.
    """
    check_labelled(bank_PD, bank_labels_P)
    check_features(queries_QD)
    check_same_width(bank_PD, queries_QD)
    for k in ks:
        if not 1 <= k <= len(bank_PD):
            raise DataError(
                f"k is {k} and there are {len(bank_PD)} labelled pictures; expected k from 1 to their number"
            )
    classes, most = 1 + int(bank_labels_P.max()), max(ks)
    answers = {k: np.empty(len(queries_QD), dtype=np.int64) for k in ks}
    bank_PD = unit(bank_PD)
    for first in range(0, len(queries_QD), _BLOCK):
        similar_QP = unit(queries_QD[first : first + _BLOCK]) @ bank_PD.T
        nearest_Qk = np.argpartition(-similar_QP, most - 1, axis=1)[:, :most]
        if len(answers) > 1:  # the first of them vote for a smaller k
            order_Qk = np.argsort(-np.take_along_axis(similar_QP, nearest_Qk, axis=1), axis=1, kind="stable")
            nearest_Qk = np.take_along_axis(nearest_Qk, order_Qk, axis=1)
        for k, answers_Q in answers.items():
            votes_QK = _votes(bank_labels_P[nearest_Qk[:, :k]], classes)
            answers_Q[first : first + _BLOCK] = votes_QK.argmax(axis=1)
    return answers


def view_retrieval(one_PD: Features, other_PD: Features) -> float:
    """Return the share of views whose nearest among all views of the other kind is of the same picture, in [0, 1].

    Both directions count alike; guessing finds 1 / P. It needs no labels: a model that keeps what two random views of a
    picture have in common finds them, but so does one that keeps colours and nothing else.

    Args:
        one_PD: Features of a view of every picture (P, D).
        other_PD: Features of another view, in the same order (P, D).

    Raises:
        DataError: If there are not two views of every picture, or fewer than two pictures.
    """
    check_features(one_PD, least=2)
    check_features(other_PD, least=2)
    if one_PD.shape != other_PD.shape:
        raise DataError(f"the views have features {one_PD.shape} and {other_PD.shape}; expected two of every picture")
    one_PD, other_PD = unit(one_PD), unit(other_PD)
    return (_found(one_PD, other_PD) + _found(other_PD, one_PD)) / 2


def unit(features_PD: Features) -> NDArray[np.float32]:
    """Return features of unit length (P, D), float32; vectors of zeros stay."""
    lengths_P1 = np.linalg.norm(features_PD.astype(np.float64), axis=1, keepdims=True)
    return (features_PD / np.where(lengths_P1 > 0, lengths_P1, 1)).astype(np.float32)


def _votes(labels_Qk: Labels, classes: int) -> NDArray[np.int64]:
    """Return the number of neighbours of every class (Q, K)."""
    rows_Q1 = classes * np.arange(len(labels_Qk))[:, None]
    return np.bincount((rows_Q1 + labels_Qk).ravel(), minlength=classes * len(labels_Qk)).reshape(-1, classes)


def _found(one_PD: NDArray[np.float32], other_PD: NDArray[np.float32]) -> float:
    """Return the share of the first that find their own among the second; of equal similarities none is found."""
    found = 0
    for first in range(0, len(one_PD), _BLOCK):
        similar_QP = one_PD[first : first + _BLOCK] @ other_PD.T
        own_Q = np.arange(first, first + len(similar_QP))
        rivals_Q = (similar_QP >= similar_QP[np.arange(len(similar_QP)), own_Q][:, None]).sum(axis=1)
        found += int((rivals_Q == 1).sum())
    return found / len(one_PD)
