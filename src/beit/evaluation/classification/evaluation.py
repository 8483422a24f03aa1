"""What a model said about pictures, and the numbers that follow from it, whatever it was asked.

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
    """Pictures per second, by the clock.

    Attributes:
        model: Through the model alone, without the first batch if there are more: it warms up the device.
        whole: With reading, decoding and waiting, over everything.
    """

    model: float
    whole: float


@dataclass(frozen=True)
class Evaluation(ABC):
    """What a model said about every usable picture.

    Attributes:
        source: The pictures.
        view: How the model saw them.
        classes: What the model calls its classes, labels or numbers.
        indices: Numbers of the pictures in the source, (P,).
        speed: How fast it went.
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
        """Return what a run's result holds; the same pictures and weights always give the same."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """Return what more a program may want to know, ready for JSON."""

    @abstractmethod
    def rows(self) -> Iterator[list[str]]:
        """Yield a table of the pictures: the names of the columns, then what is true and what was said of each."""
