"""Checks of features and labels before they are measured.

Legend: P pictures, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data import ImageSource
from beit.errors import DataError

Features = NDArray[np.floating[Any]]  # (P, D)
Labels = NDArray[np.integer[Any]]  # (P,)


def check_features(features_PD: Features, least: int = 1) -> None:
    """Refuse what is no matrix of finite features, or has too few pictures.

    Raises:
        DataError: Naming shape or picture.
    """
    if features_PD.ndim != 2 or len(features_PD) < least or not features_PD.shape[1]:
        raise DataError(
            f"features have shape {features_PD.shape}; expected (pictures, features) of at least {least} pictures"
        )
    finite_P = np.isfinite(features_PD).all(axis=1)
    if not finite_P.all():
        raise DataError(
            f"the features of {int((~finite_P).sum())} of {len(features_PD)} pictures are not finite, the first is "
            f"picture {int(finite_P.argmin())}; the model has diverged: take an earlier checkpoint"
        )


def check_labelled(features_PD: Features, labels_P: Labels, classes: int = 1) -> None:
    """Refuse features of which some have no label, or whose labels are of too few classes.

    Raises:
        DataError: Naming the numbers.
    """
    check_features(features_PD)
    labelled = int((labels_P >= 0).sum())
    if labels_P.shape != (len(features_PD),) or labelled < len(labels_P):
        raise DataError(
            f"{labelled} labels for {len(features_PD)} pictures; expected a class from 0 for each: leave out the "
            "pictures without one"
        )
    found = len(np.unique(labels_P))
    if found < classes:
        raise DataError(
            f"the labels of {len(labels_P)} pictures are of {found} class; expected {classes} or more: a probe needs "
            "pictures of different classes"
        )


def check_same_width(one_PD: Features, other_QD: Features) -> None:
    """Refuse features of two different models.

    Raises:
        DataError: Naming both widths.
    """
    if one_PD.shape[1] != other_QD.shape[1]:
        raise DataError(
            f"there are {one_PD.shape[1]} and {other_QD.shape[1]} features per picture; expected those of one layer"
        )


def missing_labels(bank: ImageSource, queries: ImageSource, k: int) -> str | None:
    """Return the reason why features cannot be measured with the labels of two sets of pictures; None if they can.

    Args:
        bank: Training pictures.
        queries: Held-out pictures.
        k: Neighbours that vote.
    """
    if any(source.labels is None or source.label_kind != "class" for source in (bank, queries)):
        return "the pictures have no label of one class each"
    if bank.classes != queries.classes:
        return "training and held-out pictures have different classes"
    if len(np.unique(np.asarray(bank.labels))) < 2:
        return "the training pictures are of one class"
    if len(bank) < k:
        return f"{len(bank)} training pictures are fewer than the {k} neighbours of monitor.k"
    return None
