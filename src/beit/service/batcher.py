"""Batches of pictures from many requests, computed together in one thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from beit.inference.runners.wanted import given_up_when

Payload = TypeVar("Payload")
Result = TypeVar("Result")
Compute = Callable[[Sequence[Payload]], Sequence[Result]]


@dataclass(eq=False)
class _Work:
    """Work of one request.

    Attributes:
        compute: Computes payloads together.
        payload: This request's part.
        most: How many may be computed together.
        due: When it no longer waits for others, in seconds of the loop's clock.
        answer: Its result; cancelled once nobody waits for it, which also ends its computation where that is long.
    """

    compute: Compute[Any, Any]
    payload: Any
    most: int
    due: float
    answer: asyncio.Future[Any]


class Batcher:
    """Computes the requests for one model, in the order of their arrival.

    A batch is the oldest request and the next ones of its kind. It starts when it is full, or when the oldest has
    waited long enough; while another batch is computed all of them wait anyway, so that under load no time is lost.

    Args:
        max_batch: Most payloads of a batch.
        max_wait_s: How long the oldest waits for others, in seconds.
        on_batch: Called with the size of every batch.
    """

    def __init__(self, max_batch: int, max_wait_s: float, on_batch: Callable[[int], None]) -> None:
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._on_batch = on_batch
        self._waiting: deque[_Work] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="beit-model")
        self._running: asyncio.Task[None] | None = None

    async def submit(self, compute: Compute[Payload, Result], payload: Payload) -> Result:
        """Return the result of a payload, computed with others of the same `compute`.

        Cancelled, it is dropped if its batch has not begun.
        """
        return await self._enqueue(compute, payload, self._max_batch, self._max_wait_s)

    async def alone(self, call: Callable[[], Result]) -> Result:
        """Return the result of a function that is called in the model's thread when its turn comes."""
        return await self._enqueue(lambda _: [call()], None, 1, 0.0)

    def close(self) -> None:
        """Drop what waits, and end the thread after what it computes now."""
        if self._running is not None:
            self._running.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _enqueue(self, compute: Compute[Any, Any], payload: Any, most: int, wait_s: float) -> Any:
        loop = asyncio.get_running_loop()
        work = _Work(compute, payload, most, loop.time() + wait_s, loop.create_future())
        self._waiting.append(work)
        if self._running is None or self._running.done():
            self._arrived = asyncio.Event()
            self._running = loop.create_task(self._run())
        self._arrived.set()
        try:
            return await work.answer
        finally:
            if work in self._waiting:  # cancelled before it began
                self._waiting.remove(work)
                self._arrived.set()

    async def _run(self) -> None:
        """Compute batches until nothing waits."""
        while self._waiting:
            self._arrived.clear()
            batch, oldest = self._next_batch(), self._waiting[0]
            left = oldest.due - asyncio.get_running_loop().time()
            if len(batch) < oldest.most and left > 0:
                await self._arrival(left)
                continue
            self._waiting = deque(work for work in self._waiting if work not in batch)
            self._on_batch(len(batch))
            await self._compute(batch)

    def _next_batch(self) -> list[_Work]:
        oldest = self._waiting[0]
        return [work for work in self._waiting if work.compute == oldest.compute][: oldest.most]

    async def _arrival(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            pass

    async def _compute(self, batch: list[_Work]) -> None:
        payloads = [work.payload for work in batch]

        def compute() -> Sequence[Any]:
            with given_up_when(lambda: all(work.answer.cancelled() for work in batch)):
                return batch[0].compute(payloads)

        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, compute)
            answers = list(zip(batch, results, strict=True))
        except Exception as error:
            await self._fail(batch, error)
            return
        for work, result in answers:
            if not work.answer.done():
                work.answer.set_result(result)

    async def _fail(self, batch: list[_Work], error: Exception) -> None:
        """Give an error to the request that it is of: of several, each is computed again, alone.

        One client's option that does not fit the model, or its picture that takes too much memory, is no other's fault.
        """
        for work in batch:
            if work.answer.done():
                continue
            if len(batch) > 1:
                await self._compute([work])
            else:
                work.answer.set_exception(error)
