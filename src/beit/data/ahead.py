"""Fetch what a run will read before it reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from beit.data.order import Position
from beit.data.source import ImageSource


class FetchedOrder:
    """The batches of an order, each given out once what holds its pictures is at hand.

    The order is taken up a while before it is given out, to begin to fetch what comes next. All of it happens in the
    process that gives out the batches: what goes wrong stops the run there, and no two workers fetch the same.
    """

    def __init__(self, order: Iterable[list[Position]], source: ImageSource) -> None:
        self._order, self._source = order, source

    def __iter__(self) -> Iterator[list[Position]]:
        waiting: deque[list[Position]] = deque()
        pictures = 0
        for batch in self._order:
            waiting.append(batch)
            pictures += len(batch)
            self._source.fetch((), _pictures(batch))
            while pictures - len(waiting[0]) >= self._source.look_ahead:
                pictures -= len(waiting[0])
                yield self._at_hand(waiting.popleft())
        while waiting:
            yield self._at_hand(waiting.popleft())

    def _at_hand(self, batch: list[Position]) -> list[Position]:
        self._source.fetch(_pictures(batch), ())
        return batch


def _pictures(batch: list[Position]) -> list[int]:
    return [index for _, index in batch]
