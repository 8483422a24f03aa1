"""Progress of the preparation of a large collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from beit.errors import printable

T = TypeVar("T")
_FEW = 8


def progress(items: Iterable[T], total: int, title: str, always: bool = False) -> Iterator[T]:
    """Yield items, with a bar on a terminal if they are more than a few; only the first process shows it.

    Args:
        items: What is prepared, one after the other.
        total: How many there are.
        title: What is done.
        always: Show it for few of them too, and print one line where there is no terminal.
    """
    if os.environ.get("RANK", "0") != "0" or (total < _FEW and not always):
        yield from items
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    console, title = Console(stderr=True, markup=False, emoji=False), printable(title)
    if console.is_terminal:
        yield from track(items, escape(title), total, transient=True, console=console)
        return
    if always:
        console.print(f"{title}: {total} files", soft_wrap=True)
    yield from items
