"""Show how far a preparation is that takes a while on large collections."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_MANY = 8


def shown(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """Yield items, with a bar on a terminal if there are many; of several processes the first shows it."""
    if total < _MANY or os.environ.get("RANK", "0") != "0":
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, title, total, transient=True, console=Console(stderr=True))
