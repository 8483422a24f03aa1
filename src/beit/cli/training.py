"""Common part of all training commands: their settings, `--dry-run`, `--processes` and `--force`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from beit.cli.early_checks import check_early
from beit.cli.output import say, say_settings
from beit.cli.parser import parse_job
from beit.errors import ConfigError

if TYPE_CHECKING:
    from beit.engine.run_folder import RunFolder

Job = TypeVar("Job")
_PRICE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
FLAGS = "[--dry-run [--processes N] [--device NAME [--price DOLLARS]]] [--force]"


class Machines(NamedTuple):
    """Machines that a dry run stands for: processes, the GPU of each, its price in an hour; None: those here."""

    processes: int | None = None
    device: str | None = None
    price: float | None = None


HERE = Machines()


class Asked(NamedTuple, Generic[Job]):
    """A training as it was asked for: settings, whether only its cost is wanted, and on which machines."""

    job: Job
    dry: bool
    machines: Machines


def parse_training(
    kind: type[Job], command: str, description: str, arguments: Sequence[str], flags: str = FLAGS
) -> Asked[Job]:
    """Parse the arguments of a training command, and print the settings that are not the defaults.

    Raises:
        ConfigError: If a setting is wrong, or --processes stands without --dry-run.
        DataError: If there is no such path.
    """
    words, machines = _machines(arguments)
    words, dry = _switch(words, "--dry-run")
    words, forced = _switch(words, "--force")
    if not dry:
        _refuse_without_dry_run(machines)
    given = [*words, "--run.force=true"] if forced else words
    job = parse_job(kind, command, description, given, flags=flags)
    say_settings(job)
    check_early(job, writes=not dry)
    return Asked(job, dry, machines)


def say_results(folder: RunFolder, name: str = "model") -> None:
    """Print where the model and the report of a finished run lie."""
    width = max(len(name), len("report")) + 2
    say(f"{name:<{width}}{folder.model}")
    if folder.report.exists():
        say(f"{'report':<{width}}{folder.report}")


def _machines(arguments: Sequence[str]) -> tuple[list[str], Machines]:
    """Return the arguments without `--processes N`, `--device NAME` and `--price DOLLARS`, and what these say.

    Raises:
        ConfigError: If one of them is no such value.
    """
    words, number = _taken(arguments, "--processes")
    words, device = _taken(words, "--device")
    words, price = _taken(words, "--price")
    if number is not None and (not number.isdecimal() or number == "0"):
        raise ConfigError(f"the number after --processes is {number}; expected 1 or more")
    if price is not None and not _PRICE.fullmatch(price):
        raise ConfigError(f"the price after --price is {price}; expected dollars for an hour of one GPU, such as 2.5")
    if price is not None and device is None:
        raise ConfigError("--price belongs to --device, which names the GPU that it is of, such as --device H100")
    return words, Machines(int(number) if number else None, device, float(price) if price else None)


def _taken(arguments: Sequence[str], flag: str) -> tuple[list[str], str | None]:
    """Return the arguments without `--flag VALUE` or `--flag=VALUE`, and the value."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith(f"{flag}=") else [word])]
    if flag not in words:
        return words, None
    place = words.index(flag)
    return words[:place] + words[place + 2 :], words[place + 1] if len(words) > place + 1 else "missing"


def _switch(words: Sequence[str], flag: str) -> tuple[list[str], bool]:
    """Return the arguments without a flag, and whether it is on: alone, or true, as a setting may be written.

    Raises:
        ConfigError: If something else follows its equals sign.
    """
    kept, on = list[str](), False
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == flag:
            value = value if equals else next(iter(words[i + 1 : i + 2]), "")
            if equals and value not in ("true", "false"):
                raise ConfigError(f"{flag} is {value!r}; expected true or false, or {flag} alone, which is true")
            on = value != "false"
        elif not (word in ("true", "false") and i and words[i - 1] == flag):
            kept.append(word)
    return kept, on


def _refuse_without_dry_run(machines: Machines) -> None:
    """Refuse what only a dry run is asked.

    Raises:
        ConfigError: Naming the flag, and what a run is given instead.
    """
    if machines.processes is not None:
        raise ConfigError("--processes belongs to --dry-run; a launcher such as torchrun starts the processes of a run")
    if machines.device is not None:
        raise ConfigError("--device belongs to --dry-run; a run computes on --run.device auto, cpu or cuda")
