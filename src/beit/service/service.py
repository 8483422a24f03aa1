"""Service: loading of models, decoding threads, and the handling of one request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from starlette.types import Receive

from beit.inference.predictor import Predictor
from beit.inference.tasks.options import TaskOptions
from beit.inference.tasks.task import PredictorTask
from beit.service.admission import Admission, return_memory
from beit.service.batcher import Batcher
from beit.service.errors import CLIENT_GONE, ServiceError, overloaded
from beit.service.metrics import Metrics
from beit.service.pace import Pace, Turn
from beit.service.served_model import Asked, ServedModel
from beit.service.uploads import decode
from beit.settings.serve import ServiceSettings

Result = TypeVar("Result")
_WAIT = 0.75  # share of its time that a request may be expected to wait: some pictures take longer than the mean
_MOST_NUMBERS = 4_000_000_000  # scores of a picture: a dozen seconds of two cores


class Service:
    """Answers requests within limits.

    Args:
        settings: The limits.

    Attributes:
        admission: Requests under way.
        metrics: Counters of all requests.
        failure: The error for which the models could not be loaded.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.admission = Admission(settings)
        self.metrics = Metrics()
        self.failure: Exception | None = None
        self._models: dict[str, ServedModel] = {}
        self._pace = Pace(settings.workers)
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="beit-picture")
        self._whole_pictures = asyncio.Semaphore(settings.workers)
        self.metrics.gauge("beit_queue_depth", "Requests that wait or are computed.", lambda: self.admission.computing)
        self.metrics.gauge("beit_requests_open", "Requests not yet answered.", lambda: self.admission.requests)

    @property
    def ready(self) -> bool:
        """Return whether requests are taken."""
        return bool(self._models) and not self.admission.stopping

    @property
    def models(self) -> list[ServedModel]:
        """All models, in the order they were given."""
        return list(self._models.values())

    def open(self, predictors: Mapping[str, Predictor]) -> None:
        """Begin to serve models by their names."""
        wait_s = self.settings.max_wait_ms / 1000

        def batcher(name: str) -> Batcher:
            return Batcher(self.settings.batch_size, wait_s, partial(self.metrics.computed, name))

        self._models = {name: ServedModel(name, one, batcher(name), self._pace) for name, one in predictors.items()}

    async def load(self, loader: Callable[[], Mapping[str, Predictor]]) -> None:
        """Load models in another thread, so that /healthz is answered meanwhile; an error becomes `failure`."""
        try:
            self.open(await asyncio.to_thread(loader))
        except Exception as error:  # the server stops, and reports it
            self.failure = error

    def close(self) -> None:
        """End all threads."""
        for served in self._models.values():
            served.batcher.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def model(self, name: str | None, task: str) -> ServedModel:
        """Return a model for a task.

        Raises:
            ServiceError: If there is none of that name, none named among several, or it cannot do the task.
        """
        if not self._models:
            raise ServiceError(
                503, "the models are still being loaded; try again in some seconds", {"Retry-After": "5"}
            )
        known = ", ".join(self._models)
        if not name and len(self._models) > 1:
            raise ServiceError(422, f"the field 'model' is missing; expected one of {known}")
        served = self._models.get(name or next(iter(self._models)))
        if served is None:
            raise ServiceError(404, f"there is no model {(name or '')[:100]!r}; expected one of {known}")
        served.require(task)
        return served

    async def answer(
        self,
        receive: Receive,
        served: ServedModel,
        task: PredictorTask[Any, Any],
        upload: bytes,
        options: TaskOptions,
    ) -> dict[str, Any]:
        """Return the answer of a task about an uploaded picture, in time; its work ends if its client goes away.

        Raises:
            ServiceError: If too much waits before it, the time is over or the client gone.
        """
        turn = Turn(perf_counter())
        with self.admission.computation():
            self._check_wait(served.name)
            with self._pace.under_way(served.kind(task), turn):
                try:
                    async with asyncio.timeout(self.settings.timeout_s):
                        return await _unless_gone(receive, self._ask(served, task, upload, options, turn))
                except TimeoutError:
                    raise self._late(turn) from None

    def _check_wait(self, model: str) -> None:
        """Refuse a request up front that would hardly be answered in time.

        Raises:
            ServiceError: If so.
        """
        wait, most = self._pace.wait(model), _WAIT * self.settings.timeout_s
        if wait > most:
            raise overloaded(f"what waits already takes {wait:.0f} s", math.ceil(wait - most))

    def _late(self, turn: Turn) -> ServiceError:
        """Return the error of a request that has no result in time: of the load, or of what it asks."""
        seconds = self.settings.timeout_s
        if turn.waited_longer:
            return overloaded(f"there was no result within {seconds:g} s, most of which it waited", 1)
        return ServiceError(504, f"there was no result within {seconds:g} s; try again later or with a smaller picture")

    async def _ask(
        self, served: ServedModel, task: PredictorTask[Any, Any], upload: bytes, options: TaskOptions, turn: Turn
    ) -> dict[str, Any]:
        """Return the answer of a task about an uploaded picture.

        Pictures of any size may be large: no more of them are in memory than there are threads that decode.
        """
        model = served.predictor.model

        def prepared() -> Any:
            picture = decode(upload, self.settings.max_pixels, model.preprocessing.bands)
            self._check_work(*task.work(model, picture.height, picture.width), picture.height, picture.width)
            return task.prepare(model, picture, options)

        if task.batched:
            asked = Asked(await self._picture_thread(turn, prepared), options, turn)
            result = await served.result(task, asked)
            return {"model": served.name, **task.answer(result)}
        async with self._whole_pictures:
            asked = Asked(await self._picture_thread(turn, prepared), options, turn)
            result = await served.result(task, asked)
            answer = {"model": served.name, **await self._picture_thread(turn, lambda: task.answer(result))}
            await self._picture_thread(turn, return_memory)
            return answer

    def _check_work(self, windows: int, numbers: int, height: int, width: int) -> None:
        """Refuse a picture that would hold the model for long, before it does.

        Raises:
            ServiceError: If so.
        """
        if windows > self.settings.max_windows:
            raise ServiceError(
                413,
                f"the file is {height} x {width} pixels, {windows} windows of the model; expected at most "
                f"{self.settings.max_windows}, send a smaller one",
            )
        if numbers > _MOST_NUMBERS:
            raise ServiceError(
                413, f"the file is {height} x {width} pixels, too many for the model's classes; send a smaller one"
            )

    async def _picture_thread(self, turn: Turn, call: Callable[[], Result]) -> Result:
        def measured() -> Result:
            began = perf_counter()
            try:
                return call()
            finally:
                turn.handled += perf_counter() - began

        return await asyncio.get_running_loop().run_in_executor(self._pool, measured)


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of some work unless the client disconnects first.

    Raises:
        ServiceError: If it does.
    """
    computing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((computing, gone), return_when=asyncio.FIRST_COMPLETED)
        if not computing.done():
            raise ServiceError(CLIENT_GONE, "the client has gone away")
        return computing.result()
    finally:
        computing.cancel()
        gone.cancel()
        await asyncio.wait((computing, gone))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
