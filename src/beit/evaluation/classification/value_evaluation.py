"""Evaluation of a regression model: errors of each of its numbers.

Legend: P pictures, K numbers per picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from beit.config import ProblemType
from beit.evaluation.classification.evaluation import Evaluation


@dataclass(frozen=True)
class ValueResult:
    """Errors of one of the numbers.

    Attributes:
        index: Its index in the model.
        name: Its name in the model.
        mean_absolute_error: In its own unit.
        mean_squared_error: In the square of it.
        r2: Share of its variance that is explained; below 0, worse than always saying the mean. None if all pictures
            have the same.
    """

    index: int
    name: str
    mean_absolute_error: float
    mean_squared_error: float
    r2: float | None


@dataclass(frozen=True)
class ValueEvaluation(Evaluation):
    """Predictions of a regression model for every usable picture, and the errors that follow from them.

    Attributes:
        targets: The true numbers, (P, K).
        values: The predicted numbers, (P, K).
    """

    problem: ClassVar[ProblemType] = "regression"

    targets: NDArray[np.float32]
    values: NDArray[np.float32]

    @property
    def errors(self) -> NDArray[np.float64]:
        """Difference of predicted and true numbers, (P, K)."""
        return self.values.astype(np.float64) - self.targets

    def numbers(self) -> dict[str, float]:
        """Return the mean squared error, as "loss" too, the mean absolute error, and the share of variance explained.

        The last is left out where all pictures have the same.
        """
        squared = float(np.square(self.errors).mean())
        numbers = {
            "loss": squared,
            "mean_squared_error": squared,
            "mean_absolute_error": float(np.abs(self.errors).mean()),
        }
        if (r2 := _explained(squared, self.targets)) is not None:
            numbers["r2"] = r2
        return {**numbers, "pictures": len(self.indices)}

    def per_value(self) -> list[ValueResult]:
        """Return the errors of each of the numbers, in the model's order."""
        results: list[ValueResult] = []
        for k, name in enumerate(self.classes):
            squared, absolute = float(np.square(self.errors[:, k]).mean()), float(np.abs(self.errors[:, k]).mean())
            results.append(ValueResult(k, name, absolute, squared, _explained(squared, self.targets[:, k : k + 1])))
        return results

    def details(self) -> dict[str, Any]:
        """Return the names by index, and the errors of each number."""
        return {"classes": self.classes, "per_value": [asdict(result) for result in self.per_value()]}

    def rows(self) -> Iterator[list[str]]:
        """Yield the true and the predicted numbers of each picture."""
        yield ["name", *self.classes, *(f"predicted_{name}" for name in self.classes)]
        for place, index in enumerate(self.indices):
            numbers = [*self.targets[place], *self.values[place]]
            yield [self.source.name(index), *(f"{number:.6g}" for number in numbers)]


def _explained(squared_error: float, targets_PK: NDArray[np.float32]) -> float | None:
    """Return the share of the variance explained; None where there is no variance to explain."""
    variance = targets_PK.astype(np.float64).var(axis=0).mean()
    return None if variance == 0 else float(1 - squared_error / variance)
