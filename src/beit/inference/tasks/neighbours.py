"""Nearest neighbours: the pictures of a folder whose embeddings are most similar to that of a picture.

Legend: P pictures of the folder, D hidden.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np

from beit.errors import ConfigError
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.runner import Floats
from beit.inference.tasks.embed import embeddings, gives_vectors
from beit.inference.tasks.folder import AMONG, contents_of, pictures_in
from beit.inference.tasks.layers import FeatureOptions
from beit.inference.tasks.nearest import Nearest
from beit.inference.tasks.options import Limits, Local
from beit.inference.tasks.task import PredictorTask

_BATCH = 32  # pictures of the folder, computed together


@dataclass(frozen=True)
class NeighbourOptions(FeatureOptions):
    """Options of a search.

    Attributes:
        among: Folder of the pictures that are searched.
        k: Neighbours of each picture, all if there are fewer.

    Raises:
        ConfigError: If there is no folder, or a picture would be more than one vector.
    """

    among: Annotated[str | None, Local, AMONG] = None
    k: Annotated[int, Limits(least=1), "Neighbours of each picture, all if there are fewer."] = 5

    def __post_init__(self) -> None:
        """Check what a search needs."""
        super().__post_init__()
        if self.among is None:
            raise ConfigError("among is missing; expected the folder of pictures to search: --among FOLDER")
        object.__setattr__(self, "among", str(self.among))
        if self.several or self.dense:
            raise ConfigError(
                f"layer is {self.layer} and pooling {self.pooling!r}; expected one layer and pooling: pictures are "
                "compared by one vector each"
            )


@dataclass(frozen=True)
class Neighbours:
    """The nearest pictures of a folder, the most similar first.

    Attributes:
        paths: Their files.
        similarities: Cosine similarities of their embeddings to that of the picture, in [-1, 1].
    """

    paths: list[str]
    similarities: list[float]

    def to_json(self) -> dict[str, Any]:
        """Return {"neighbours": [{"rank", "neighbour", "similarity"}, ...]}, ranks from 1."""
        pairs = enumerate(zip(self.paths, self.similarities, strict=True), start=1)
        return {"neighbours": [{"rank": rank, "neighbour": path, "similarity": near} for rank, (path, near) in pairs]}

    def show(self) -> None:
        """Print a line per neighbour."""
        for path, similarity in zip(self.paths, self.similarities, strict=True):
            print(f"{similarity:6.3f}  {path}")  # noqa: T201  # what it is for


class Neighbour(TypedDict):
    """A picture of the folder."""

    rank: Annotated[int, "1: the most similar."]
    neighbour: Annotated[str, "Its path."]
    similarity: Annotated[float, "Cosine similarity, -1 to 1."]


class NeighboursAnswer(TypedDict):
    """The nearest pictures, the most similar first."""

    neighbours: list[Neighbour]


@dataclass(frozen=True)
class _Folder:
    """Pictures of a folder with the index of their embeddings."""

    paths: list[Path]
    places: dict[str, int]  # by real path
    nearest: Nearest


class FindNeighbours(PredictorTask[NeighbourOptions, Neighbours]):
    """Find the nearest pictures of a folder."""

    name = "neighbours"
    action = "find neighbours"
    about = "Find the pictures of a folder that are most similar to a picture."
    options = NeighbourOptions
    answer_type = NeighboursAnswer
    answer_example: Mapping[str, Any] = {"neighbours": [{"rank": 1, "neighbour": "cats/7.png", "similarity": 0.93}]}
    formats = ("jsonl", "csv", "parquet")
    batched = True
    served = False  # a client would name folders of the server

    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model gives embeddings."""
        return gives_vectors(model)

    def prepare(self, model: LoadedModel, picture: Any, options: NeighbourOptions, path: Path | None = None) -> Any:
        """Return the pixels of a picture, and its file, which is not its own neighbour."""
        return options.view(model)(picture), None if path is None else os.path.realpath(path)

    def results(
        self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[NeighbourOptions]
    ) -> list[Neighbours]:
        """Return the neighbours of pictures; the folder is read when the first of them comes."""
        found: list[Neighbours] = []
        vectors = embeddings(model, [pixels_CHW for pixels_CHW, _ in prepared], options)
        for (_, file), asked, embedding in zip(prepared, options, vectors, strict=True):
            folder = model.once((self.name, replace(asked, k=1)), lambda asked=asked: _read(model, asked))
            own = folder.places.get(file or "")
            places_1k, similar_1k = folder.nearest(embedding.vector[None], asked.k + (own is not None))
            others = [pair for pair in zip(places_1k[0], similar_1k[0], strict=True) if pair[0] != own][: asked.k]
            found.append(
                Neighbours([str(folder.paths[place]) for place, _ in others], [float(one) for _, one in others])
            )
        return found

    def answer(self, result: Neighbours) -> Any:
        """Return paths and similarities."""
        return result.to_json()

    def contents(self, options: NeighbourOptions) -> Iterator[str]:
        """Return the path and size of every picture of the folder."""
        return contents_of(options.among or "")

    def columns(self, model: LoadedModel, options: NeighbourOptions) -> list[str]:
        """Return the columns of a row per neighbour."""
        return ["rank", "neighbour", "similarity"]

    def table(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a row per neighbour."""
        return [{"picture": row["picture"], **neighbour} for neighbour in row["neighbours"]]

    def parquet_fields(self, arrow: Any, options: NeighbourOptions) -> list[tuple[str, Any]]:
        """Return the same columns."""
        return [("rank", arrow.int32()), ("neighbour", arrow.string()), ("similarity", arrow.float64())]

    def line(self, row: Mapping[str, Any]) -> str:
        """Return the picture and its neighbours."""
        named = (f"{one['neighbour']} {one['similarity']:.3f}" for one in row["neighbours"])
        return f"{row['picture']}  " + "  ".join(named)


def _read(model: LoadedModel, options: NeighbourOptions) -> _Folder:
    """Return the pictures of a folder with the index of their embeddings.

    Raises:
        DataError: If there is no usable picture in it.
    """
    paths, vectors, waiting = list[Path](), list[Floats](), list[Floats]()

    def compute() -> None:
        vectors.extend(one.vector for one in embeddings(model, waiting, [options] * len(waiting)))
        waiting.clear()

    for path, picture in pictures_in(options.among or "", model.preprocessing.bands):
        waiting.append(options.view(model)(picture))
        paths.append(path)
        if len(waiting) == _BATCH:
            compute()
    if waiting:
        compute()
    places = {os.path.realpath(path): place for place, path in enumerate(paths)}
    return _Folder(paths, places, Nearest(np.stack(vectors)))
