"""Pace of a service: the time that its requests take, and the wait that a new one has before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

_LATEST = 0.2  # weight of the latest measurement in the mean
Kind = tuple[str, str]  # the name of a model, and that of a task


@dataclass
class Turn:
    """Times of one request, of its wait and of its computation.

    Attributes:
        arrived: When it had arrived.
        began: When its computation began; None: not yet.
        handled: Seconds in which it was read and its answer written.
    """

    arrived: float
    began: float | None = None
    handled: float = 0.0

    @property
    def waited_longer(self) -> bool:
        """Return whether it has waited for longer than it has been computed."""
        now = perf_counter()
        began = now if self.began is None else self.began
        return began - self.arrived > now - began


class Pace:
    """Seconds that requests take, by kind, as measured lately, and the requests that are under way.

    A request is computed in its model's thread, which is one, and read and written by threads that all models share.

    Args:
        threads: How many threads read and write.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._under_way = Counter[Kind]()
        self._computed: dict[Kind, float] = {}
        self._handled: dict[Kind, float] = {}

    @contextmanager
    def under_way(self, kind: Kind, turn: Turn) -> Generator[None]:
        """Count a request until it is answered or given up, and note what it took of the threads."""
        self._under_way[kind] += 1
        try:
            yield
        finally:
            self._under_way[kind] -= 1
            _note(self._handled, kind, turn.handled)

    def computed(self, kind: Kind, seconds: float) -> None:
        """Note what a request took of its model's thread: of a batch, its share."""
        _note(self._computed, kind, seconds)

    def wait(self, model: str) -> float:
        """Return the seconds until what is under way for a model is done; 0 while no request has been measured."""
        of_model = sum(n * self._computed.get(kind, 0.0) for kind, n in self._under_way.items() if kind[0] == model)
        of_threads = sum(n * self._handled.get(kind, 0.0) for kind, n in self._under_way.items()) / self._threads
        return max(of_model, of_threads)


def _note(means: dict[Kind, float], kind: Kind, seconds: float) -> None:
    means[kind] = means.get(kind, seconds) * (1 - _LATEST) + seconds * _LATEST
