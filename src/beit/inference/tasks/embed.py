"""Embedding: a picture as one vector.

Legend: D hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.torch_runner import TorchRunner
from beit.inference.tasks.options import TaskOptions
from beit.inference.tasks.task import ExportedOutput, PredictorTask


@dataclass(frozen=True)
class Embedding:
    """A picture as one vector.

    Attributes:
        vector: (D,), float32: the pooled features of the model's last layer.
    """

    vector: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """Return {"embedding": [...]}."""
        return {"embedding": self.vector.tolist()}

    def show(self) -> None:
        """Print its length, and its first numbers."""
        print(f"{len(self.vector)} numbers: {self.vector[:5].tolist()}...")  # noqa: T201  # what it is for


class EmbedAnswer(TypedDict):
    """The picture as a vector."""

    embedding: list[float]


class Embed(PredictorTask[TaskOptions, Embedding]):
    """Return one vector per picture."""

    name = "embed"
    about = "Return a picture as one vector."
    options = TaskOptions
    answer_type = EmbedAnswer
    answer_example: Mapping[str, Any] = {"embedding": [0.12, -1.07, 0.44]}
    formats = ("jsonl", "csv", "parquet")
    batched = True
    exported = ExportedOutput("embeddings", "one vector per picture, (pictures, hidden size)")

    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model gives its features: every torch model does."""
        return model.runner.task == self.name or isinstance(model.runner, TorchRunner)

    def results(self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[TaskOptions]) -> list[Embedding]:
        """Return the embeddings of pixels that are computed together."""
        return [Embedding(vector_D) for vector_D in model.embed(np.asarray(prepared))]

    def answer(self, result: Embedding) -> Any:
        """Return the vector."""
        return result.to_json()

    def columns(self, model: LoadedModel, options: TaskOptions) -> list[str]:
        """Return a column for every number."""
        return [f"embedding_{index}" for index in range(model.config.hidden_size)]

    def cells(self, row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
        """Return the numbers."""
        return row["embedding"]

    def parquet_fields(self, arrow: Any) -> list[tuple[str, Any]]:
        """Return a list of numbers."""
        return [("embedding", arrow.list_(arrow.float32()))]
