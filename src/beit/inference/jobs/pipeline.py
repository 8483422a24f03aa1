"""Pipeline of a job: threads read and prepare pictures while the model computes."""

from __future__ import annotations

import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from beit.errors import DataError, as_text
from beit.inference.jobs.chunk import Chunk
from beit.inference.jobs.frames import Named, film_frames
from beit.inference.jobs.inputs import CHUNK, Collection, Unit
from beit.inference.predictor import Predictor
from beit.inference.tasks.options import TaskOptions
from beit.inference.tasks.registry import task_named

Todo = tuple[int, Unit, int]  # number of the unit, the unit, the first chunk of it that is missing


@dataclass(frozen=True)
class _Prepared:
    name: str
    stem: str
    content: Any


@dataclass(frozen=True)
class _Broken:
    name: str
    reason: str
    gone: bool


@dataclass(frozen=True)
class _End:
    unit: int
    number: int
    last: bool


_Item = _Prepared | _Broken | _End
_Step = tuple[ThreadPoolExecutor, Callable[[], "_Item | None"]]


class Pipeline:
    """Pipeline from units of pictures to chunks of results.

    Args:
        predictor: The model.
        task: Name of the task.
        options: Of the task.
        collections: Where the pictures are.
        batch_size: Pictures computed together.
        workers: Threads that read pictures.
        draw: Whether to make files of the results too: pictures, and a JSON file each.
    """

    def __init__(
        self,
        predictor: Predictor,
        task: str,
        options: TaskOptions,
        collections: Sequence[Collection],
        batch_size: int,
        workers: int,
        draw: bool,
    ) -> None:
        predictor.require(task)
        self._model, self._collections = predictor.model, collections
        self._task, self._options = task_named(task), options
        self._batch_size = batch_size if self._task.batched else 1
        self._workers, self._draw = workers, draw
        self._columns = self._task.columns(self._model, options)

    def __call__(self, todo: Iterable[Todo]) -> Iterator[Chunk]:
        """Yield the results, chunk by chunk, in order.

        Raises:
            ConfigError: If an option of the task does not fit the model.
            MissingExtraError: If there is a film, and what reads films is not installed.
        """
        chunk, waiting = Chunk(0, 0, columns=self._columns), list[_Prepared]()
        with ThreadPoolExecutor(self._workers) as many, ThreadPoolExecutor(1) as single:
            depth = self._workers + (2 * self._batch_size if self._task.batched else 0)
            for item in _ahead(self._steps(todo, many, single), depth):
                if isinstance(item, _Prepared):
                    waiting.append(item)
                elif isinstance(item, _Broken):
                    chunk.broken.append((item.name, item.reason))
                    chunk.gone |= item.gone
                if waiting and (len(waiting) == self._batch_size or isinstance(item, _End)):
                    self._answer(waiting, chunk)
                    waiting = []
                if isinstance(item, _End):
                    chunk.unit, chunk.number, chunk.last = item.unit, item.number, item.last
                    yield chunk
                    chunk = Chunk(0, 0, columns=self._columns)

    def _answer(self, prepared: list[_Prepared], chunk: Chunk) -> None:
        """Add the results about some pictures to a chunk."""
        contents = [item.content for item in prepared]
        results = self._task.results(self._model, contents, [self._options] * len(contents))
        for item, result in zip(prepared, results, strict=True):
            row = {"picture": item.name, **result.to_json()}
            if self._draw:
                row = {"picture": item.name, "name": item.stem, **result.to_json()}
                files = {f"{item.stem}_{what}.png": _png(image) for what, image in self._task.drawings(result).items()}
                chunk.files |= files | {f"{item.stem}.json": (json.dumps(row, indent=1) + "\n").encode()}
            chunk.rows.append(row)

    def _steps(self, todo: Iterable[Todo], many: ThreadPoolExecutor, single: ThreadPoolExecutor) -> Iterator[_Step]:
        """Yield the steps that prepare pictures for the model, in order; the frames of a film by one thread."""
        for number, unit, first in todo:
            if unit.film is not None:
                items = self._film(number, unit.film, first)
                ended: list[bool] = []
                while not ended:
                    yield single, partial(_next, items, ended)
                continue
            collection = self._collections[unit.collection]
            collection.fetch(unit)
            for index in range(unit.start, unit.stop):
                yield many, partial(self._picture, collection, index)
            yield many, partial(_End, number, 0, True)

    def _picture(self, collection: Collection, index: int) -> _Item:
        try:
            content = self._task.prepare(self._model, collection.load(index), self._options, collection.path(index))
        except DataError as error:
            return _Broken(as_text(collection.name(index)), as_text(str(error)), _has_gone(collection.path(index)))
        return _Prepared(as_text(collection.name(index)), collection.stem(index), content)

    def _film(self, number: int, film: Named, first: int) -> Iterator[_Item]:
        """Yield the frames of a film from some chunk on, and where chunks end."""
        name, stem, chunk = as_text(str(film.path)), film.stem, first
        try:
            for frame, picture in film_frames(film.path, first * CHUNK):
                if frame // CHUNK > chunk:
                    yield _End(number, chunk, False)
                    chunk += 1
                digits = f"{frame:06d}"
                content = self._task.prepare(self._model, picture, self._options)
                yield _Prepared(f"{name}#{digits}", f"{stem}_{digits}", content)
        except DataError as error:
            yield _Broken(name, as_text(str(error)), _has_gone(film.path))
        yield _End(number, chunk, True)


def _has_gone(path: Path | None) -> bool:
    """Return whether a file that was listed is not there any more; of pictures inside shards nobody asks."""
    return path is not None and not os.path.exists(path)  # that of pathlib raises where a disk does not answer


def _next(items: Iterator[_Item], ended: list[bool]) -> _Item | None:
    item = next(items, None)
    if item is None:
        ended.append(True)
    return item


def _ahead(steps: Iterable[_Step], depth: int) -> Iterator[_Item]:
    """Yield the results of steps in their order, at most `depth` steps ahead."""
    waiting: deque[Future[_Item | None]] = deque()
    for pool, step in steps:
        waiting.append(pool.submit(step))
        if len(waiting) > depth and (item := waiting.popleft().result()) is not None:
            yield item
    while waiting:
        if (item := waiting.popleft().result()) is not None:
            yield item


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
