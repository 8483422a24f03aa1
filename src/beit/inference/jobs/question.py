"""What is asked of a model about each picture, and how the answers are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from beit.inference.predictor import Predictor
from beit.inference.results import Attention, Reconstruction, Result, Segmentation
from beit.inference.tasks import Task


@dataclass(frozen=True)
class Question:
    """A task with its options.

    Attributes:
        task: What to do.
        top_k: Classes to name, to classify.
        layer: Whose attention, to attend; -1 is the last.
        patch: Whose attention, (row, col); None: that of [CLS].
        share: How much of a picture to hide, to reconstruct.
        seed: Of the mask, to reconstruct.
    """

    task: Task = "classify"
    top_k: int = 5
    layer: int = -1
    patch: tuple[int, int] | None = None
    share: float = 0.4
    seed: int = 0

    @property
    def batched(self) -> bool:
        """Whether several pictures are computed together, from pixels of one size."""
        return self.task in ("classify", "embed")

    def prepare(self, predictor: Predictor, picture: Image.Image) -> Any:
        """Return what `answer` takes of a picture; several threads may do so at once."""
        return predictor.prepare(picture) if self.batched else picture

    def answer(self, predictor: Predictor, prepared: Sequence[Any]) -> Sequence[Result]:
        """Return the answer for each of some pictures.

        Raises:
            ConfigError: If the model cannot do the task, or an option does not fit it.
        """
        if self.task == "classify":
            return predictor.classify_pixels(np.stack(prepared), self.top_k)
        if self.task == "embed":
            return predictor.embed_pixels(np.stack(prepared))
        pictures = list(prepared)
        if self.task == "segment":
            return predictor.segment(pictures)
        if self.task == "attend":
            return predictor.attend(pictures, self.layer, self.patch)
        return predictor.reconstruct(pictures, share=self.share, seed=self.seed)

    def columns(self, predictor: Predictor) -> list[str]:
        """Return the columns of a table of the answers, after that of the picture; none if they fit into no table."""
        if self.task == "classify":
            shown = range(1, min(self.top_k, len(predictor.classes)) + 1)
            return [f"{name}_{place}" for place in shown for name in ("label", "probability")]
        if self.task == "embed":
            return [f"embedding_{index}" for index in range(predictor.config.hidden_size)]
        return ["height", "width", *predictor.classes] if self.task == "segment" else []


def cells(row: dict[str, Any], columns: Sequence[str]) -> list[Any]:
    """Return the values of a row, as `Result.to_json` tells it, under some columns of `Question.columns`."""
    if "predictions" in row:
        return [value for told in row["predictions"] for value in (told["label"], told["probability"])]
    if "embedding" in row:
        return row["embedding"]
    return [row["height"], row["width"], *(row["shares"].get(name, 0.0) for name in columns[2:])]


def drawn(result: Result) -> dict[str, Image.Image]:
    """Return the pictures that tell an answer, by what to add to the name of the picture."""
    if isinstance(result, Segmentation):
        return {"index": result.index_image(), "colour": result.colour_image(), "overlay": result.overlay()}
    if isinstance(result, Reconstruction):
        return {"picture": result.picture, "masked": result.masked, "reconstruction": result.reconstruction}
    if isinstance(result, Attention):
        return {"attention": result.overlay()}
    return {}
