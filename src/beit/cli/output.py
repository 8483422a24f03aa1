"""Output of commands: printed once, also when many processes run them, with numbers in words."""

from __future__ import annotations

import os
from typing import Any

from beit.errors import printable
from beit.files import check_output, discard_leftovers_of


def say(*lines: str) -> None:
    """Print lines, on the first of several processes only."""
    if os.environ.get("RANK", "0") == "0":
        print(printable("\n".join(lines), keep="\n\t"), flush=True)


def say_settings(job: Any) -> None:
    """Print the settings of a job that are not the defaults."""
    from beit.settings.base import changed_settings

    lines = changed_settings(job).splitlines()
    say("settings (the others are the defaults; --print_config prints all):", *(f"  {line}" for line in lines))


def gib(amount: float) -> str:
    """Return an amount of bytes in GiB."""
    return f"{amount / 2**30:,.2f} GiB"


def prepare_outputs(*outputs: str | None) -> None:
    """Before the work, refuse files that could not be written, and remove what a killed command left of them.

    For commands that hold no lock on their outputs.

    Raises:
        StorageError: Naming the first that could not be written.
    """
    for output in outputs:
        if output is not None:
            check_output(output)
            discard_leftovers_of(output)
