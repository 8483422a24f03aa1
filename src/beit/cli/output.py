"""What a command says: once, also when many processes run it, and its numbers in words."""

from __future__ import annotations

import os


def say(*lines: str) -> None:
    """Print lines, on the first of several processes only."""
    if os.environ.get("RANK", "0") == "0":
        print("\n".join(lines), flush=True)


def gib(amount: float) -> str:
    """Return an amount of bytes in GiB."""
    return f"{amount / 2**30:,.2f} GiB"
