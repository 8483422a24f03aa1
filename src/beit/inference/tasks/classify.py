"""Classification: the most likely classes of a picture.

Legend: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import numpy as np

from beit.config import problem_of
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.runner import Floats
from beit.inference.runners.torch_runner import TorchRunner
from beit.inference.tasks.options import Limits, TaskOptions
from beit.inference.tasks.task import ExportedOutput, PredictorTask, Tab


@dataclass(frozen=True)
class ClassifyOptions(TaskOptions):
    """Options of a classification.

    Attributes:
        top_k: Classes to name, all of them if there are fewer.
    """

    top_k: Annotated[int, Limits(least=1), "Classes to name, all of them if there are fewer."] = 5


@dataclass(frozen=True)
class Classification:
    """The most likely classes of a picture, best first.

    Attributes:
        labels: Class names.
        probabilities: Their probabilities, in [0, 1].
    """

    labels: list[str]
    probabilities: list[float]

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.labels[0]

    def to_json(self) -> dict[str, Any]:
        """Return {"predictions": [{"label", "probability"}, ...]}."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return {"predictions": [{"label": label, "probability": probability} for label, probability in pairs]}

    def show(self) -> None:
        """Print a line per class."""
        for label, probability in zip(self.labels, self.probabilities, strict=True):
            print(f"{probability:6.1%}  {label}")  # noqa: T201  # what it is for


class LabelProbability(TypedDict):
    """A class and its probability."""

    label: str
    probability: Annotated[float, "0 to 1."]


class ClassifyAnswer(TypedDict):
    """The most likely classes, best first."""

    predictions: list[LabelProbability]


class Classify(PredictorTask[ClassifyOptions, Classification]):
    """Name the most likely classes."""

    name = "classify"
    about = "Name the most likely classes of a picture."
    options = ClassifyOptions
    answer_type = ClassifyAnswer
    answer_example: Mapping[str, Any] = {"predictions": [{"label": "cat", "probability": 0.93}]}
    request_example: Mapping[str, Any] = {"top_k": 3}
    formats = ("jsonl", "csv", "parquet")
    batched = True
    names_classes = True
    tab = Tab("Classify", "no loaded model has classes for pictures.")
    exported = ExportedOutput("logits", "the scores of the classes before softmax, (pictures, classes)", scores=True)

    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model has classes for pictures; one that was trained on numbers has none."""
        return model.runner.task == self.name and problem_of(model.config) != "regression"

    def remedy(self, model: LoadedModel) -> str:
        """Return the way to get classes."""
        if model.runner.task == self.name and problem_of(model.config) == "regression":
            said = "" if model.config.problem_type else " (one output, and no problem_type in its config.json)"
            return f"it gives numbers, not classes{said}; "
        return no_classes(model, "beit finetune")

    def results(
        self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[ClassifyOptions]
    ) -> list[Classification]:
        """Return the best classes of pixels that are computed together."""
        probabilities_BK = _probabilities(model.runner(np.asarray(prepared)), model.config.problem_type)
        best_BK = np.argsort(-probabilities_BK, axis=1, kind="stable")
        names, found = model.config.distinct_class_names, list[Classification]()
        for probabilities_K, best_K, asked in zip(probabilities_BK, best_BK, options, strict=True):
            best_k = best_K[: asked.top_k]
            found.append(Classification([names[index] for index in best_k], probabilities_K[best_k].tolist()))
        return found

    def answer(self, result: Classification) -> Any:
        """Return labels and probabilities."""
        return result.to_json()

    def columns(self, model: LoadedModel, options: ClassifyOptions) -> list[str]:
        """Return a pair of columns for each class that is named."""
        shown = range(1, min(options.top_k, len(model.config.class_names)) + 1)
        return [f"{name}_{place}" for place in shown for name in ("label", "probability")]

    def cells(self, row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
        """Return label, probability, label, ..."""
        return [value for pair in row["predictions"] for value in (pair["label"], pair["probability"])]

    def parquet_fields(self, arrow: Any, options: ClassifyOptions) -> list[tuple[str, Any]]:
        """Return a list of pairs."""
        pair = arrow.struct([("label", arrow.string()), ("probability", arrow.float32())])
        return [("predictions", arrow.list_(pair))]

    def line(self, row: Mapping[str, Any]) -> str:
        """Return the picture and its classes."""
        named = (f"{pair['label']} {pair['probability']:.1%}" for pair in row["predictions"])
        return f"{row['picture']}  " + "  ".join(named)


def no_classes(model: LoadedModel, command: str) -> str:
    """Return the remedy for a torch model without classes; empty for a model that has other classes."""
    if model.runner.task != "embed" or not isinstance(model.runner, TorchRunner):
        return ""
    return f"it has no classes yet; fine-tune it ({command} --checkpoint MODEL) or choose another --task; "


def _probabilities(logits_BK: Floats, problem_type: str | None) -> Floats:
    if problem_type == "multi_label_classification":
        return np.exp(-np.logaddexp(np.float32(0), -logits_BK))
    raised_BK: Floats = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
    return raised_BK / raised_BK.sum(axis=1, keepdims=True)
