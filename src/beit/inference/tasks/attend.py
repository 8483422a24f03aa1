"""Attention maps: the attention of each head of a layer to every patch.

Legend: S = 1 + N tokens; rows and cols count patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import ConfigError
from beit.geometry import Grid
from beit.image import AnyPicture
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.torch_runner import TorchRunner
from beit.inference.tasks.drawing import PNG, heat_overlay, png_text
from beit.inference.tasks.options import Place, TaskOptions, as_place
from beit.inference.tasks.task import PredictorTask, Tab


@dataclass(frozen=True)
class AttendOptions(TaskOptions):
    """Options of attention maps.

    Attributes:
        layer: Counted from 0, or from the end: -1 is the last.
        patch: The (row, col) that attends; None: [CLS].
    """

    layer: Annotated[int, "Layer, counted from 0, or from the end: -1, the default, is the last."] = -1
    patch: Annotated[Place | None, "Row and column of the patch that attends; default: the [CLS] token."] = None

    def __post_init__(self) -> None:
        """Bring the patch into one form, and check everything."""
        object.__setattr__(self, "patch", as_place("patch", self.patch))
        super().__post_init__()


@dataclass(frozen=True)
class Attention:
    """Attention of a layer to the patches of a picture.

    Attributes:
        picture: The part of the picture that the model sees.
        maps: (heads, rows, cols), float32: how much of its attention each head gives to every patch. They sum to less
            than 1: the rest is for [CLS].
        patch: The (row, col) that attends; None: [CLS].
    """

    picture: Image.Image
    maps: NDArray[np.float32]
    patch: Place | None = None

    def to_json(self) -> dict[str, Any]:
        """Return {"rows", "cols", "maps": [rows * cols numbers of each head], "patch": [row, col] or None}."""
        heads, rows, cols = self.maps.shape
        patch = None if self.patch is None else list(self.patch)
        return {"rows": rows, "cols": cols, "maps": self.maps.reshape(heads, -1).tolist(), "patch": patch}

    def overlay(self, head: int | None = None) -> Image.Image:
        """Return the picture under the heat map of one head, or of the mean of all.

        Raises:
            ConfigError: If there is no such head.
        """
        if head is not None and not 0 <= head < len(self.maps):
            raise ConfigError(f"head is {head}; expected 0 to {len(self.maps) - 1}, or None for the mean of all")
        return heat_overlay(self.picture, self.maps.mean(axis=0) if head is None else self.maps[head])

    def show(self) -> None:
        """Open the picture under the mean of all heads."""
        self.overlay().show()


class AttendAnswer(TypedDict):
    """Attention of the heads of a layer."""

    rows: int
    cols: int
    picture_png: Annotated[str, f"{PNG} of what the model sees."]
    maps: Annotated[list[list[float]], "For each head rows * cols numbers, row by row."]
    patch: Annotated[Place | None, "The [row, col] that attends; null: [CLS]."]


class Attend(PredictorTask[AttendOptions, Attention]):
    """Return attention maps."""

    name = "attend"
    about = "Show to which patches the heads of a layer attend."
    options = AttendOptions
    answer_type = AttendAnswer
    answer_example: Mapping[str, Any] = {
        "rows": 1,
        "cols": 2,
        "picture_png": "iVBORw0KGgo...",
        "maps": [[0.2, 0.7], [0.5, 0.4]],
        "patch": None,
    }
    request_example: Mapping[str, Any] = {"layer": -1, "patch": "3,4"}
    formats = ("jsonl", "parquet", "pictures")
    tab = Tab("Attention", "no loaded model gives its attention maps.")

    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model gives its attention: every torch model does."""
        return isinstance(model.runner, TorchRunner)

    def results(self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[AttendOptions]) -> list[Attention]:
        """Return the maps of pictures, each computed for itself."""
        return [self._result(model, picture, asked) for picture, asked in zip(prepared, options, strict=True)]

    def answer(self, result: Attention) -> AttendAnswer:
        """Return the maps row by row, and the picture they belong to."""
        heads, rows, cols = result.maps.shape
        return {
            "rows": rows,
            "cols": cols,
            "picture_png": png_text(result.picture),
            "maps": result.maps.reshape(heads, -1).tolist(),
            "patch": result.patch,
        }

    def parquet_fields(self, arrow: Any, options: AttendOptions) -> list[tuple[str, Any]]:
        """Return the grid, a list of numbers for each head, and the patch."""
        whole, maps = arrow.int32(), arrow.list_(arrow.list_(arrow.float32()))
        return [("rows", whole), ("cols", whole), ("maps", maps), ("patch", arrow.list_(whole))]

    def drawings(self, result: Attention) -> dict[str, Image.Image]:
        """Return the heat map of the mean of all heads."""
        return {"attention": result.overlay()}

    def _result(self, model: LoadedModel, picture: AnyPicture, asked: AttendOptions) -> Attention:
        layers = model.config.num_hidden_layers
        if not -layers <= asked.layer < layers:
            raise ConfigError(
                f"layer is {asked.layer}; expected 0 to {layers - 1}, or -1 for the last, -{layers} for the first"
            )
        query = 0 if asked.patch is None else _token(asked.patch, model.grid)
        runner = cast(TorchRunner, model.runner)  # else the task is not possible
        maps_HSS = runner.attention(model.preprocessing(picture)[None], asked.layer)[0]
        maps = maps_HSS[:, query, 1:].reshape(-1, *model.grid)
        return Attention(model.preprocessing.crop(picture), maps, asked.patch)


def _token(patch: Place, grid: Grid) -> int:
    """Return the number of a patch's token in the sequence."""
    rows, cols = grid
    if not (0 <= patch[0] < rows and 0 <= patch[1] < cols):
        raise ConfigError(f"patch is {patch}; expected a row of 0 to {rows - 1} and a column of 0 to {cols - 1}")
    return 1 + patch[0] * cols + patch[1]
