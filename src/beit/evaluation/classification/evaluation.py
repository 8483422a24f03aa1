"""Common part of the evaluations of whole pictures: the model, the pictures, and the interface of their numbers.

Legend: P pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from beit.config import ProblemType
from beit.data import BrokenPicture, ImageSource
from beit.evaluation.result import Speed
from beit.image import Preprocessing

_NOUNS = {
    "single_label_classification": "classes",
    "multi_label_classification": "labels",
    "regression": "numbers per picture",
}


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


@dataclass(frozen=True)
class EvaluatedModel:
    """Model of an evaluation, and how it was used.

    Attributes:
        name: Where it is from.
        matched: How the pictures' classes or labels were found among its own: by "name", "index" or "order".
        view_from: Source of its preprocessing, in words.
        device: Where it computed.
        precision: "fp32", "bf16" or "fp16".
    """

    name: str
    matched: str
    view_from: str
    device: str
    precision: str

    def to_json(self, evaluation: Evaluation) -> dict[str, Any]:
        """Return what the JSON of an evaluation says of the model."""
        view = evaluation.view
        return {
            **asdict(self),
            "problem_type": evaluation.problem,
            "parameters": evaluation.parameters,
            "classes": len(evaluation.classes),
            "view": {
                "image_size": list(view.image_hw),
                "resize": view.resize if isinstance(view.resize, int) else list(view.resize),
                "resample": view.resample.name.lower(),
                "mean": list(view.mean),
                "std": list(view.std),
            },
        }

    def table(self, evaluation: Evaluation) -> list[tuple[str, str]]:
        """Return what the report of an evaluation says of the model."""
        view = evaluation.view
        resize = view.resize if isinstance(view.resize, int) else f"{view.resize[0]} x {view.resize[1]}"
        to = "shorter side" if isinstance(view.resize, int) else "all"
        return [
            ("model", self.name),
            ("parameters", f"{evaluation.parameters:,}"),
            (_NOUNS[evaluation.problem], f"{len(evaluation.classes):,}, matched by {self.matched}"),
            (
                "what it sees",
                f"{to} resized to {resize}, centre {view.image_hw[0]} x {view.image_hw[1]}, "
                f"{view.resample.name.lower()}; from {self.view_from}",
            ),
            ("computed on", f"{self.device}, {self.precision}"),
            ("pictures per second, model alone", f"{evaluation.speed.model:,.1f}"),
            ("pictures per second, with reading them", f"{evaluation.speed.whole:,.1f}"),
        ]
