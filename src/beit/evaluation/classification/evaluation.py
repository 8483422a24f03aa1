"""Common part of the evaluations: pictures, speed, and the interface of their numbers and tables.

Legend: P pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from beit.config import ProblemType
from beit.data import BrokenPicture, ImageSource
from beit.image import Preprocessing


@dataclass(frozen=True)
class Speed:
    """Throughput in pictures per second.

    Attributes:
        model: Through the model alone, without the first batch if there are more: it warms up the device.
        whole: With reading, decoding and waiting, over everything.
    """

    model: float
    whole: float


@dataclass(frozen=True)
class Evaluation(ABC):
    """Predictions of a model for every usable picture.

    Attributes:
        source: The pictures.
        view: How the model saw them.
        classes: What the model calls its classes, labels or numbers.
        indices: Numbers of the pictures in the source, (P,).
        speed: Throughput.
        parameters: Of the model.
        broken: Pictures that were left out.
    """

    problem: ClassVar[ProblemType]

    source: ImageSource
    view: Preprocessing
    classes: list[str]
    indices: list[int]
    speed: Speed
    parameters: int
    broken: list[BrokenPicture]

    @abstractmethod
    def numbers(self) -> dict[str, float]:
        """Return the numbers for a run's result; the same pictures and weights always give the same."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """Return further results for programs, ready for JSON."""

    @abstractmethod
    def rows(self) -> Iterator[list[str]]:
        """Yield a table of the pictures: the names of the columns, then truth and prediction of each."""
