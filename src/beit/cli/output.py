"""Output of commands: printed once, also when many processes run them, with numbers in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from beit.errors import ConfigError, printable
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


def prepare_outputs(job: Any, *names: str) -> None:
    """Before the work, refuse files that could not be written, and remove what a killed command left of them.

    For commands that hold no lock on their outputs.

    Args:
        job: The settings of the command.
        names: Those of its settings that name a file to write.

    Raises:
        ConfigError: If a file would take the place of another that the command writes or reads.
        StorageError: Naming the first that could not be written.
    """
    settings = dict(_texts(asdict(job)))
    outputs = {name: settings.pop(name) for name in names if name in settings}
    taken = {os.path.realpath(text): name for name, text in settings.items() if os.path.exists(text)}
    for name, output in outputs.items():
        if other := taken.get(place := os.path.realpath(output)):
            raise ConfigError(f"--{name} is {output}, which is also --{other}; name another file")
        taken[place] = name
        check_output(output)
        discard_leftovers_of(output)


def _texts(settings: dict[str, Any], group: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings that are texts, and their names."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _texts(value, f"{group}{name}.")
        elif isinstance(value, str) and value:
            yield f"{group}{name}", value
