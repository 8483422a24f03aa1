"""Contract of a predictor task, as command line, jobs, service, page and exports use it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.inference.runners.loaded import LoadedModel
from beit.inference.tasks.options import TaskOptions

Format = Literal["jsonl", "csv", "parquet", "npy", "safetensors", "pictures"]


class TaskResult(Protocol):
    """Result about one picture."""

    def to_json(self) -> dict[str, Any]:
        """Return the row that is written of it."""
        ...

    def show(self) -> None:
        """Print the result, or open a picture of it."""
        ...


@dataclass(frozen=True)
class Tab:
    """Texts of a task's tab in the page.

    Attributes:
        title: Its label.
        unavailable: A line for a service none of whose models can do the task.
    """

    title: str
    unavailable: str


@dataclass(frozen=True)
class ExportedOutput:
    """Output tensor of a model that is exported for a task.

    Attributes:
        name: Its name in the file.
        about: Its meaning and shape, for the model card.
        scores: Whether its numbers are scores of classes.
        windows: Whether the file takes windows of larger pictures, so that their size has to be fixed.
    """

    name: str
    about: str
    scores: bool = False
    windows: bool = False


Options = TypeVar("Options", bound=TaskOptions)
Result = TypeVar("Result", bound=TaskResult)


class PredictorTask(ABC, Generic[Options, Result]):
    """A task of the predictor; a new one is a file with a subclass, and a line of the registry.

    Attributes:
        name: What users call it: a verb, or what is made.
        action: What it does, where its name is no verb.
        about: What it does, in one line.
        options: Its options.
        answer_type: JSON of the service: a TypedDict, whose keys may be annotated with a line about them.
        answer_example: Such JSON, for the OpenAPI description.
        request_example: Fields of a form, for the OpenAPI description.
        formats: Forms in which a job can write its results.
        batched: Whether several pictures are computed together, from pixels of one size.
        names_classes: Whether its results name the model's classes.
        served: Whether the service has it.
        tab: Its tab in the page; None: it has none.
        exported: What a model that is exported for it gives; None: no model is.
    """

    name: str
    action: str | None = None
    about: str
    options: type[Options]
    answer_type: type
    answer_example: Mapping[str, Any]
    request_example: Mapping[str, Any] = {}
    formats: tuple[Format, ...] = ("jsonl",)
    batched: bool = False
    names_classes: bool = False
    served: bool = True
    tab: Tab | None = None
    exported: ExportedOutput | None = None

    @abstractmethod
    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model can do the task."""

    def remedy(self, model: LoadedModel) -> str:
        """Return the reason why a model cannot do the task, and the remedy; the tasks that it can do follow it."""
        return ""

    def prepare(self, model: LoadedModel, picture: Any, options: Options, path: Path | None = None) -> Any:
        """Return the input of `results` for a picture, RGB or `Bands`; several threads may do so at once.

        Args:
            model: The model.
            picture: The picture.
            options: Of the task.
            path: Its file; None of a picture that has none of its own.

        Raises:
            ConfigError: If an option does not fit the model.
        """
        return model.preprocessing(picture) if self.batched else picture

    def work(self, model: LoadedModel, height: int, width: int) -> tuple[int, int]:
        """Return how often the model computes for a picture, and how many numbers of its size are made of that."""
        return 1, 0

    @abstractmethod
    def results(self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[Options]) -> list[Result]:
        """Return the result of each of some prepared pictures, under options of its own.

        Raises:
            ConfigError: If an option does not fit the model.
        """

    @abstractmethod
    def answer(self, result: Result) -> Any:
        """Return the service's JSON of a result, as `answer_type` describes it."""

    def possible_formats(self, options: Options) -> tuple[Format, ...]:
        """Return the forms in which a job can write its results under some options."""
        return self.formats

    def rows_at_once(self, options: Options) -> int | None:
        """Return how many results fit into memory, where they are large; None: as many as a job likes."""
        return None

    def contents(self, options: Options) -> Iterable[str]:
        """Return lines that identify the files that options name, so that a job does not continue with others."""
        return ()

    def columns(self, model: LoadedModel, options: Options) -> list[str]:
        """Return the columns of a table of results, after that of the picture; none if they fit into no table."""
        return []

    def table(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows that a row, as `to_json` of a result makes it, is in tables and parquet files."""
        return [dict(row)]

    def cells(self, row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
        """Return the values under those columns of such a row."""
        return [row[name] for name in columns]

    def parquet_fields(self, arrow: Any, options: Options) -> list[tuple[str, Any]]:
        """Return the columns of parquet files and their types, named and nested like the rows."""
        return []

    def arrays(self, row: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
        """Return the arrays of a row by name, for files that hold nothing else; of one shape in all rows."""
        return {}

    def drawings(self, result: Result) -> dict[str, Image.Image]:
        """Return pictures of a result, by what is added to the name of the picture."""
        return {}

    def line(self, row: Mapping[str, Any]) -> str:
        """Return the line that is printed of a row."""
        return json.dumps(row)
