"""Embedding: a picture as one vector, or as one per patch, from any layer.

Legend: B batch, C channels, H x W pixels, h x w patches, D hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np

from beit.errors import ConfigError
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.runner import Floats
from beit.inference.runners.torch_runner import TorchRunner
from beit.inference.tasks.layers import FeatureOptions
from beit.inference.tasks.task import ExportedOutput, Format, PredictorTask

_DENSE_ROWS = 8  # results with a vector for every patch, in memory at once
_Vector = list[float]
_Map = list[list[_Vector]]


@dataclass(frozen=True)
class Embedding:
    """Features of a picture.

    Attributes:
        arrays: For each layer that was asked for (D,), float32, or with the pooling None (h, w, D), a vector for every
            patch; without any choice the one vector that the model's head reads.
        layers: The layers, counted from 1; empty without any choice.
    """

    arrays: tuple[Floats, ...]
    layers: tuple[int, ...] = ()

    @property
    def vector(self) -> Floats:
        """The array of the one layer.

        Raises:
            ConfigError: If there are several.
        """
        if len(self.arrays) > 1:
            raise ConfigError(f"the embedding has the layers {self.layers}, and vector is of one; take arrays")
        return next(iter(self.arrays))

    @property
    def array(self) -> Floats:
        """The array of the one layer, or those of several one after the other: (layers, D) or (layers, h, w, D)."""
        return np.stack(self.arrays) if len(self.arrays) > 1 else self.vector

    def to_json(self) -> dict[str, Any]:
        """Return {"embedding": numbers, nested like `array`}, and where some were chosen "layers"."""
        chosen = {"layers": list(self.layers)} if self.layers else {}
        return {"embedding": self.array.tolist(), **chosen}

    def show(self) -> None:
        """Print its shape, and its first numbers."""
        shape = " x ".join(map(str, self.array.shape))
        print(f"{shape} numbers: {self.array.ravel()[:5].tolist()}...")  # noqa: T201  # what it is for


class EmbedAnswer(TypedDict):
    """The picture as a vector; a list of them for several layers, rows of them without pooling."""

    embedding: _Vector | list[_Vector] | _Map | list[_Map]
    layers: NotRequired[Annotated[list[int], "The layers, counted from 1, where a layer or pooling was asked for."]]


class Embed(PredictorTask[FeatureOptions, Embedding]):
    """Return vectors of a picture."""

    name = "embed"
    about = "Return a picture as one vector, or its features in any layer."
    options = FeatureOptions
    answer_type = EmbedAnswer
    answer_example: Mapping[str, Any] = {"embedding": [0.12, -1.07, 0.44], "layers": [9]}
    request_example: Mapping[str, Any] = {"layer": "9", "pooling": "mean"}
    formats = ("jsonl", "csv", "parquet", "npy", "safetensors")
    batched = True
    exported = ExportedOutput("embeddings", "one vector per picture, (pictures, hidden size)")

    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model gives its features."""
        return gives_vectors(model)

    def prepare(self, model: LoadedModel, picture: Any, options: FeatureOptions, path: Path | None = None) -> Any:
        """Return the pixels of a picture, of the size that is asked for; layers that are not there are refused here."""
        if not options.own:
            options.numbers(model)
        return options.view(model)(picture)

    def results(
        self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[FeatureOptions]
    ) -> list[Embedding]:
        """Return the embeddings of pixels; those with the same options and size are computed together."""
        return embeddings(model, prepared, options)

    def answer(self, result: Embedding) -> Any:
        """Return the vectors."""
        return result.to_json()

    def possible_formats(self, options: FeatureOptions) -> tuple[Format, ...]:
        """Return all, but for CSV where a picture is more than one vector."""
        return tuple(one for one in self.formats if one != "csv" or not (options.several or options.dense))

    def rows_at_once(self, options: FeatureOptions) -> int | None:
        """Return few results where each has a vector for every patch."""
        return _DENSE_ROWS if options.dense else None

    def columns(self, model: LoadedModel, options: FeatureOptions) -> list[str]:
        """Return a column for every number."""
        if options.several or options.dense:
            return []
        return [f"embedding_{index}" for index in range(model.config.hidden_size)]

    def cells(self, row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
        """Return the numbers."""
        return row["embedding"]

    def arrays(self, row: Mapping[str, Any]) -> dict[str, Floats]:
        """Return the numbers, by layer where layers were chosen."""
        whole = np.asarray(row["embedding"], np.float32)
        layers = row.get("layers", [])
        if len(layers) <= 1:
            return {f"layer_{layers[0]}" if layers else "embedding": whole}
        times = [layers[:place].count(layer) for place, layer in enumerate(layers)]
        again = ["" if before == 0 else f"_{before + 1}" for before in times]  # "6,best", where 6 is the best
        return {f"layer_{layer}{end}": array for layer, end, array in zip(layers, again, whole, strict=True)}

    def parquet_fields(self, arrow: Any, options: FeatureOptions) -> list[tuple[str, Any]]:
        """Return a list of numbers, nested for several layers and for every patch, and the layers."""
        kind = arrow.list_(arrow.float32())
        for _ in range(2 * options.dense + options.several):
            kind = arrow.list_(kind)
        layers = [] if options.own else [("layers", arrow.list_(arrow.int32()))]
        return [("embedding", kind), *layers]


def gives_vectors(model: LoadedModel) -> bool:
    """Return whether a model gives its features: every torch model does, and what was exported for it."""
    return model.runner.task == Embed.name or isinstance(model.runner, TorchRunner)


def embeddings(model: LoadedModel, prepared: Sequence[Any], options: Sequence[FeatureOptions]) -> list[Embedding]:
    """Return the embeddings of pixels (C, H, W), each under options of its own.

    Raises:
        ConfigError: If the options do not fit the model.
    """
    alike: dict[Any, list[int]] = {}
    for place, (pixels_CHW, asked) in enumerate(zip(prepared, options, strict=True)):
        alike.setdefault((pixels_CHW.shape, asked), []).append(place)
    found: dict[int, Embedding] = {}
    for (_, asked), places in alike.items():
        pixels_BCHW = np.asarray(prepared if len(alike) == 1 else [prepared[place] for place in places])
        found |= zip(places, _alike(model, pixels_BCHW, asked), strict=True)
    return [found[place] for place in range(len(found))]


def _alike(model: LoadedModel, pixels_BCHW: Floats, asked: FeatureOptions) -> list[Embedding]:
    """Return the embeddings of pictures of one size under the same options."""
    if asked.own:
        return [Embedding((vector_D,)) for vector_D in model.embed(pixels_BCHW)]
    layers = asked.numbers(model)
    arrays = model.features(pixels_BCHW, layers, asked.pooled)
    return [Embedding(of_picture, layers) for of_picture in zip(*arrays, strict=True)]
