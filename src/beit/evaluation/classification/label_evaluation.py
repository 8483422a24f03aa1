"""Evaluation of a model of several labels per picture: average precision and F1.

All scores are kept: the average precision of a label ranks every picture.

Legend: P pictures, K labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beit.config import ProblemType
from beit.evaluation.classification.evaluation import Evaluation

SEPARATOR = ";"  # of several labels in a cell, as in the files that data.labels names


@dataclass(frozen=True)
class LabelResult:
    """Scores of one label.

    Attributes:
        index: Its index in the model.
        name: Its name in the model.
        pictures: Pictures that have it.
        predicted: Pictures that are said to have it, with a probability above one half.
        average_precision: Mean, over the pictures that have it, of the precision when all that are ranked as high or
            higher are said to have it.
        f1: Harmonic mean of precision and recall of what is said.
    """

    index: int
    name: str
    pictures: int
    predicted: int
    average_precision: float
    f1: float


@dataclass(frozen=True)
class LabelEvaluation(Evaluation):
    """Predictions of a model of several labels per picture, and the scores that follow from them.

    Attributes:
        targets: Whether a picture has a label, by the model's indices, (P, K).
        scores: Its log-odds of having it, (P, K).
    """

    problem: ClassVar[ProblemType] = "multi_label_classification"

    targets: NDArray[np.bool_]
    scores: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """Return whether a picture is predicted to have a label: its probability is above one half, (P, K)."""
        return self.scores > 0

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """Binary cross-entropy of every picture in nats, the mean over its labels, (P,)."""
        return (np.logaddexp(np.float32(0), self.scores) - self.scores * self.targets).mean(axis=1, dtype=np.float64)

    @cached_property
    def per_label(self) -> list[LabelResult]:
        """Scores of every label that occurs, the worst first; of equals the one with more pictures."""
        true_K, said_K = self.targets.sum(axis=0), self.predicted.sum(axis=0)
        right_K = (self.targets & self.predicted).sum(axis=0)
        results = [
            LabelResult(
                k,
                self.classes[k],
                int(true_K[k]),
                int(said_K[k]),
                self._average_precision(k),
                float(2 * right_K[k] / (true_K[k] + said_K[k])),
            )
            for k in np.flatnonzero(true_K).tolist()
        ]
        return sorted(results, key=lambda result: (result.average_precision, -result.pictures, result.index))

    def _average_precision(self, label: int) -> float:
        from torchmetrics.functional.classification import binary_average_precision  # brings scipy: seconds

        truth_P = torch.from_numpy(self.targets[:, label].astype(np.int64))
        return float(binary_average_precision(_places(self.scores[:, label]), truth_P))

    def numbers(self) -> dict[str, float]:
        """Return the loss, means over the labels that occur, and F1 over all at a probability of one half."""
        right, both = (self.targets & self.predicted).sum(), self.targets.sum() + self.predicted.sum()
        numbers = {"loss": float(self.losses.mean())}
        if self.per_label:  # where no picture has any label there is nothing to average
            numbers["mean_average_precision"] = float(np.mean([each.average_precision for each in self.per_label]))
        numbers["f1"] = float(2 * right / max(1, both))
        if self.per_label:
            numbers["mean_label_f1"] = float(np.mean([each.f1 for each in self.per_label]))
        return {**numbers, "pictures": len(self.indices)}

    def details(self) -> dict[str, Any]:
        """Return the names by index, and the scores of each label."""
        return {"classes": self.classes, "per_label": [asdict(result) for result in self.per_label]}

    def rows(self) -> Iterator[list[str]]:
        """Yield the true and the predicted labels of each picture, separated by ";", and the latter's probabilities."""
        yield ["name", "labels", "predicted", "probabilities"]
        predicted_PK = self.predicted
        for place, index in enumerate(self.indices):
            said = np.flatnonzero(predicted_PK[place])
            yield [
                self.source.name(index),
                self.names(self.targets[place]),
                self.names(predicted_PK[place]),
                SEPARATOR.join(f"{each:.6g}" for each in _probabilities(self.scores[place, said]).tolist()),
            ]

    def names(self, chosen_K: NDArray[np.bool_], separator: str = SEPARATOR) -> str:
        """Return the names of some labels, (K,)."""
        return separator.join(self.classes[label] for label in np.flatnonzero(chosen_K))


def _probabilities(scores: NDArray[np.float32]) -> Tensor:
    """Return probabilities in double precision."""
    return torch.from_numpy(scores.astype(np.float64)).sigmoid()


def _places(scores_P: NDArray[np.float32]) -> Tensor:
    """Return the place of every score among those that differ, from 0 to 1; probabilities are all 1 above 37."""
    places_P = np.unique(scores_P, return_inverse=True)[1]
    return torch.from_numpy(places_P / max(1, int(places_P.max())))
