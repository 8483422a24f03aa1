"""Long computations that end early when nobody waits for their result any more."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar


class AbandonedError(Exception):
    """Nobody waits for the result of a computation."""


_abandoned: ContextVar[Callable[[], bool] | None] = ContextVar("abandoned", default=None)


@contextmanager
def given_up_when(abandoned: Callable[[], bool]) -> Generator[None]:
    """Have the computations of a block, in this thread, end once a function returns True."""
    before = _abandoned.set(abandoned)
    try:
        yield
    finally:
        _abandoned.reset(before)


def check_wanted() -> None:
    """Go on if the result is still wanted; called between the parts of a long computation.

    Raises:
        AbandonedError: If it is not.
    """
    abandoned = _abandoned.get()
    if abandoned is not None and abandoned():
        raise AbandonedError
