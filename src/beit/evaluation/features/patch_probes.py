"""Scores of the patch features of one model: kNN and ridge probe of every layer, by accuracy and mean IoU.

As of whole pictures, all is chosen on a quarter of the training pictures; what is fitted sees no patch of them.

Legend: P training patches, Q validation patches, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beit.errors import DataError
from beit.evaluation.features.checks import Features, Labels
from beit.evaluation.features.kept_features import SetFeatures
from beit.evaluation.features.neighbours import knn_accuracies, knn_answers
from beit.evaluation.features.probes import DEFAULT_K, LayerScores, ModelScores
from beit.evaluation.features.ridge import best_ridge, choosing_split, fit_ridge

_REMEDY = "correct label_maps.ignored, label_maps.reduce or label_maps.mapping, or name other label maps"


@dataclass(frozen=True)
class PatchLayerScores(LayerScores):
    """Scores of the patches of one layer, in [0, 1]; accuracies are shares of patches.

    Attributes:
        knn_mean_iou: Mean intersection over union of the classes, in validation patches, of the kNN.
        ridge_mean_iou: The same of the ridge probe.
    """

    knn_mean_iou: float
    ridge_mean_iou: float


@dataclass(frozen=True)
class PatchSplit:
    """Parts of the training patches, and the numbers of neighbours to choose from.

    Attributes:
        fitted_P: Whether a patch is fitted to (P,).
        chosen_P: Whether it is chosen with (P,): all patches of a quarter of the pictures.
        ks: Numbers of neighbours.
    """

    fitted_P: NDArray[np.bool_]
    chosen_P: NDArray[np.bool_]
    ks: tuple[int, ...]


def split_patches(train: SetFeatures, val: SetFeatures, classes: Sequence[str], ks: Sequence[int] | None) -> PatchSplit:
    """Return how training patches are divided to choose with.

    Args:
        train: Training patches.
        val: Validation patches.
        classes: Names of the classes.
        ks: Numbers of neighbours; None for those of `DEFAULT_K` that there are enough patches for.

    Raises:
        DataError: If patches have no class or only one, or there are too few for what is asked for.
    """
    for name, part in (("training", train), ("validation", val)):
        if not len(part.labels_P):
            raise DataError(
                f"no patch of the {name} pictures has a class, every pixel of their label maps is ignored; expected "
                f"pixels of the {len(classes)} classes: {_REMEDY}"
            )
    pictures = np.unique(train.pictures_P)
    if len(pictures) < 2:
        raise DataError(
            f"the patches with a class are of {len(pictures)} training picture; expected 2 or more, one of which is "
            "held out to choose with: add pictures with label maps"
        )
    _, chosen = choosing_split(len(pictures))
    chosen_P = np.isin(train.pictures_P, pictures[chosen])
    fitted = int((~chosen_P).sum())
    found = np.unique(train.labels_P[~chosen_P])
    if len(found) < 2:
        raise DataError(
            f"the {fitted} training patches to fit to are all of class {classes[found[0]]!r}; expected patches of 2 or "
            f"more classes: add pictures, raise --patches, or {_REMEDY}"
        )
    if ks is not None and max(ks) > fitted:
        raise DataError(
            f"k is {max(ks)} and there are {fitted} training patches to vote, beside {len(chosen_P) - fitted} to "
            "choose with; expected k up to their number: lower --k, raise --patches, or add pictures"
        )
    return PatchSplit(~chosen_P, chosen_P, tuple(ks) if ks is not None else tuple(k for k in DEFAULT_K if k <= fitted))


def score_patches(train: SetFeatures, val: SetFeatures, classes: int, split: PatchSplit) -> ModelScores:
    """Return the scores of a model; its layers are `PatchLayerScores`.

    Args:
        train: Training patches.
        val: Validation patches.
        classes: Number of classes K.
        split: How training patches are divided.

    Raises:
        DataError: If features are not finite.
    """
    layers = [
        _layer((train_PD, train.labels_P), (val_QD, val.labels_P), classes, split)
        for train_PD, val_QD in zip(train.layers, val.layers, strict=True)
    ]
    knn = max(range(len(layers)), key=lambda layer: layers[layer].knn_held_out)  # of equally good ones the first
    ridge = max(range(len(layers)), key=lambda layer: layers[layer].ridge_held_out)
    return ModelScores([*layers], knn + 1, ridge + 1, [])


def mean_iou(answers_Q: Labels, labels_Q: Labels, classes: int) -> float:
    """Return the mean intersection over union, in [0, 1], of the classes that are there or answered.

    Args:
        answers_Q: Answered classes (Q,).
        labels_Q: True classes (Q,).
        classes: Number of classes.
    """
    counts_KK = np.bincount(classes * labels_Q + answers_Q, minlength=classes**2).reshape(classes, classes)
    right_K = counts_KK.diagonal()
    union_K = counts_KK.sum(axis=0) + counts_KK.sum(axis=1) - right_K
    return float((right_K[union_K > 0] / union_K[union_K > 0]).mean())


def _layer(
    train: tuple[Features, Labels], val: tuple[Features, Labels], classes: int, split: PatchSplit
) -> PatchLayerScores:
    """Return the scores of one layer."""
    train_PD, labels_P = train
    val_QD, val_labels_Q = val
    known = train_PD[split.fitted_P], labels_P[split.fitted_P]
    asked = train_PD[split.chosen_P], labels_P[split.chosen_P]
    tried = knn_accuracies(*known, *asked, split.ks)
    k = max(tried, key=lambda k: (tried[k], k))  # of equally good ones the largest, as of penalties
    probe, held_out = best_ridge(*known, *asked)
    knn_Q = knn_answers(train_PD, labels_P, val_QD, [k])[k]
    ridge_Q = fit_ridge(train_PD, labels_P, probe.penalty).answers(val_QD)
    return PatchLayerScores(
        knn=float((knn_Q == val_labels_Q).mean()),
        k=k,
        knn_held_out=tried[k],
        ridge=float((ridge_Q == val_labels_Q).mean()),
        penalty=probe.penalty,
        ridge_held_out=held_out,
        knn_mean_iou=mean_iou(knn_Q, val_labels_Q, classes),
        ridge_mean_iou=mean_iou(ridge_Q, val_labels_Q, classes),
    )
