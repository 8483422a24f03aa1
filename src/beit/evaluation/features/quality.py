"""Quality of the features of every layer: with labels kNN and ridge probe, without them retrieval; always the rank.

Training pictures are the bank, held-out pictures the queries; the two are never mixed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from beit.data import ImageSource
from beit.evaluation.features.checks import Labels, missing_labels
from beit.evaluation.features.layers import Layers, Pass, PictureSet, Shown, features_of
from beit.evaluation.features.neighbours import knn_accuracy, view_retrieval
from beit.evaluation.features.rank import rank_me, spread_of_moments
from beit.evaluation.features.ridge import fit_ridge

Row = dict[str, float]  # the numbers of one layer
MEASURES = ("knn", "ridge", "retrieval", "rankme")  # more is better
_VIEW_SEEDS = (0, 1)  # of the two random views


class FeatureQuality:
    """Measurement of the features of every layer on two fixed sets of pictures.

    Attributes:
        bank: The training pictures.
        queries: The held-out pictures.
        unlabelled: The reason why no labels are used; None if they are.

    Args:
        bank: Training pictures.
        queries: Held-out pictures.
        plain: The views of evaluation.
        random: Random views, two of which are to find each other where there are no labels.
        k: Neighbours that vote.
        batch_size: Pictures at once.
        workers: Processes that load them.
    """

    def __init__(
        self,
        bank: ImageSource,
        queries: ImageSource,
        plain: Shown,
        random: Shown,
        k: int,
        batch_size: int,
        workers: int,
    ) -> None:
        self.bank, self.queries = bank, queries
        self.unlabelled = missing_labels(bank, queries, k)
        self._k = k
        self._known = PictureSet(bank, plain, 0, batch_size, workers)
        asked = [(plain, 0)] if self.unlabelled is None else [(random, seed) for seed in _VIEW_SEEDS]
        self._asked = [PictureSet(queries, shown, seed, batch_size, workers) for shown, seed in asked]

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures of a layer of which more is better."""
        if self.unlabelled is None:
            return ("knn", "ridge", "rankme")
        return ("retrieval", "rankme") if len(self.queries) > 1 else ("rankme",)

    def measure(self, layers: Layers) -> list[Row]:
        """Return the numbers of every layer.

        With labels `knn` and `ridge`, else `retrieval`; always `rankme` and `position_spread` of the bank.

        Raises:
            DataError: If no picture is usable, or features are not finite.
        """
        bank, queries = features_of(layers, self._known), [features_of(layers, pictures) for pictures in self._asked]
        rows = self._with_labels(bank, queries[0]) if self.unlabelled is None else _of_views(*queries)
        return [
            {
                **row,
                "rankme": rank_me(layer.means_PD),
                "position_spread": spread_of_moments(layer.means_PD, layer.within_P),
            }
            for row, layer in zip(rows, bank.layers, strict=True)
        ]

    def _with_labels(self, bank: Pass, queries: Pass) -> list[Row]:
        """Return the accuracies of held-out pictures by the labels of training pictures."""
        bank_labels, labels = _labels(self._known, bank), _labels(self._asked[0], queries)
        rows: list[Row] = []
        for known, asked in zip(bank.layers, queries.layers, strict=True):
            probe = fit_ridge(known.means_PD, bank_labels)
            knn = knn_accuracy(known.means_PD, bank_labels, asked.means_PD, labels, self._k)
            rows.append({"knn": knn, "ridge": probe.accuracy(asked.means_PD, labels)})
        return rows


def _labels(pictures: PictureSet, passed: Pass) -> Labels:
    """Return the classes of the pictures that were usable (P,)."""
    return np.asarray(pictures.source.labels)[passed.indices_P]


def _of_views(one: Pass, other: Pass) -> list[Row]:
    """Return the share of views that find each other; nothing of a single picture, which has no others around it."""
    if len(one.indices_P) < 2:
        return [{} for _ in one.layers]
    pairs = zip(one.layers, other.layers, strict=True)
    return [{"retrieval": view_retrieval(first.means_PD, second.means_PD)} for first, second in pairs]


def best_of(rows: Sequence[Row]) -> Row:
    """Return the best value of every measure over the layers, and as `knn_layer` and the like its layer, from 1.

    `position_spread` is that of the best layer by the first measure.
    """
    best: Row = {}
    for name in MEASURES:
        if name in rows[0]:
            value, place = max((row[name], -index) for index, row in enumerate(rows))
            best |= {name: value, f"{name}_layer": 1 - place}
    first = next(name for name in MEASURES if name in best)
    return {**best, "position_spread": rows[int(best[f"{first}_layer"]) - 1]["position_spread"]}
