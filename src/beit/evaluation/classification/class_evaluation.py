"""Evaluation of a classifier of one class per picture: accuracies, calibration and confusion.

Only the best classes of a picture are kept, not all K probabilities: over ImageNet-22K these would fill the memory.

Legend: P pictures, K classes, T best classes of a picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from beit.config import ProblemType
from beit.evaluation.classification.evaluation import Evaluation

TOP = 5
CALIBRATION_BINS = 15  # of equal width, as in Guo et al., arXiv 1706.04599


@dataclass(frozen=True)
class ClassResult:
    """Scores of one class.

    Attributes:
        index: Its index in the model.
        name: Its name in the model.
        pictures: Pictures of it.
        accuracy: Share of these that were recognised (recall).
        precision: Share of the pictures taken for it that are of it; None if none was taken for it.
        taken_for: The class that it is most often mistaken for; None without a mistake.
    """

    index: int
    name: str
    pictures: int
    accuracy: float
    precision: float | None
    taken_for: str | None


@dataclass(frozen=True)
class CalibrationBin:
    """Pictures whose predictions are about equally sure: mean confidence and accuracy are alike if it is calibrated."""

    low: float
    high: float
    pictures: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClassEvaluation(Evaluation):
    """Predictions of a classifier for every usable picture, and the scores that follow from them.

    Attributes:
        labels: True classes by the model's indices, (P,).
        best: The T most likely classes, best first, (P, T).
        probabilities: Their probabilities, (P, T).
        losses: Cross-entropy of every picture in nats, (P,).
    """

    problem: ClassVar[ProblemType] = "single_label_classification"

    labels: NDArray[np.int64]
    best: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    losses: NDArray[np.float64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most likely class of every picture, (P,)."""
        return self.best[:, 0]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Its probability, (P,)."""
        return self.probabilities[:, 0]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return whether it is the true class, (P,)."""
        return self.predicted == self.labels

    def numbers(self) -> dict[str, float]:
        """Return the accuracies, the loss and the calibration error."""
        numbers = {"accuracy": float(self.right.mean())}
        if len(self.classes) > TOP:
            numbers["top5_accuracy"] = float((self.best == self.labels[:, None]).any(axis=1).mean())
        return {
            **numbers,
            "mean_class_accuracy": float(np.mean([result.accuracy for result in self.per_class()])),
            "loss": float(self.losses.mean()),
            "calibration_error": self.calibration_error(),
            "pictures": len(self.indices),
        }

    def details(self) -> dict[str, Any]:
        """Return names by index, scores of each class (worst first), calibration and confusion matrix."""
        return {
            "classes": self.classes,
            "per_class": [asdict(result) for result in self.per_class()],
            "calibration": [asdict(each) for each in self.calibration()],
            "confusion": [
                {"label": label, "predicted": predicted, "pictures": count}
                for label, predicted, count in self.confusion_counts()
            ],
        }

    def rows(self) -> Iterator[list[str]]:
        """Yield the class of each picture, and the most likely ones with their probabilities."""
        more = range(2, self.best.shape[1] + 1)
        runners_up = [name for place in more for name in (f"top_{place}", f"probability_{place}")]
        yield ["name", "label", "predicted", "probability", *runners_up]
        for place, index in enumerate(self.indices):
            row = [self.source.name(index), self.classes[self.labels[place]]]
            for best, probability in zip(self.best[place], self.probabilities[place], strict=True):
                row += [self.classes[best], f"{probability:.6g}"]
            yield row

    def calibration_error(self) -> float:
        """Return the expected calibration error of the predicted class: mean of |accuracy - confidence| over bins."""
        from torchmetrics.functional.classification import binary_calibration_error  # brings scipy: seconds

        # the multi-class form of torchmetrics is this one on the predicted class, but takes all K probabilities
        confidence, right = (torch.from_numpy(array) for array in (self._binned(), self.right.astype(np.int64)))
        return float(binary_calibration_error(confidence, right, n_bins=CALIBRATION_BINS, norm="l1"))

    def calibration(self) -> list[CalibrationBin]:
        """Return the bins of the reliability diagram that hold pictures, the least sure first."""
        edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, dtype=torch.float64).numpy()  # those of torchmetrics
        place_P = np.searchsorted(edges, self._binned(), side="right") - 1  # a bin holds its lower edge
        bins: list[CalibrationBin] = []
        for place in np.unique(place_P):
            here = place_P == place
            confidence, accuracy = float(self.confidence[here].mean()), float(self.right[here].mean())
            low, high = float(edges[place]), float(edges[place + 1])
            bins.append(CalibrationBin(low, high, int(here.sum()), confidence, accuracy))
        return bins

    def _binned(self) -> NDArray[np.float64]:
        """Return the confidences such that 1 falls into the last bin; torchmetrics gives it one of its own."""
        return np.minimum(self.confidence.astype(np.float64), np.nextafter(1.0, 0.0))

    def per_class(self) -> list[ClassResult]:
        """Return the scores of every class with pictures, the worst first; of equals the one with more pictures."""
        classes = len(self.classes)
        total_K, taken_K, right_K = (
            np.bincount(of, minlength=classes) for of in (self.labels, self.predicted, self.labels[self.right])
        )
        taken_for: dict[int, str] = {}
        for label, predicted, _ in self.confused_pairs():
            taken_for.setdefault(label, self.classes[predicted])
        results = [
            ClassResult(
                index,
                self.classes[index],
                int(total_K[index]),
                float(right_K[index] / total_K[index]),
                float(right_K[index] / taken_K[index]) if taken_K[index] else None,
                taken_for.get(index),
            )
            for index in np.flatnonzero(total_K).tolist()
        ]
        return sorted(results, key=lambda result: (result.accuracy, -result.pictures, result.index))

    def confusion_counts(self) -> list[tuple[int, int, int]]:
        """Return (true class, predicted class, pictures) of the cells that are not empty, by class."""
        pairs, counts = np.unique(np.stack((self.labels, self.predicted), axis=1), axis=0, return_counts=True)
        return [
            (label, predicted, count) for (label, predicted), count in zip(pairs.tolist(), counts.tolist(), strict=True)
        ]

    def confused_pairs(self) -> list[tuple[int, int, int]]:
        """Return the mistakes among them, the most frequent first."""
        wrong = [cell for cell in self.confusion_counts() if cell[0] != cell[1]]
        return sorted(wrong, key=lambda cell: (-cell[2], cell[0], cell[1]))

    def confusion(self) -> NDArray[np.int64]:
        """Return counts (K, K): rows are true classes, columns predicted ones."""
        counts_KK = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(counts_KK, (self.labels, self.predicted), 1)
        return counts_KK
