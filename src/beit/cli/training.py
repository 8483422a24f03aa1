"""Common part of all training commands: their settings, `--dry-run`, `--processes` and `--force`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from beit.cli.early_checks import check_early
from beit.cli.output import say, say_settings
from beit.cli.parser import parse_job
from beit.errors import ConfigError

if TYPE_CHECKING:
    from beit.engine.run_folder import RunFolder

Job = TypeVar("Job")
FLAGS = "[--dry-run [--processes N]] [--force]"


class Asked(NamedTuple, Generic[Job]):
    """A training as it was asked for: settings, whether only its cost is wanted, and of how many processes."""

    job: Job
    dry: bool
    processes: int | None


def parse_training(kind: type[Job], command: str, description: str, arguments: Sequence[str]) -> Asked[Job]:
    """Parse the arguments of a training command, and print the settings that are not the defaults.

    Raises:
        ConfigError: If a setting is wrong, or --processes stands without --dry-run.
        DataError: If there is no such path.
    """
    words, processes = _processes(arguments)
    dry = "--dry-run" in words
    if processes is not None and not dry:
        raise ConfigError("--processes belongs to --dry-run; a launcher such as torchrun starts the processes of a run")
    given = ["--run.force=true" if word == "--force" else word for word in words if word != "--dry-run"]
    job = parse_job(kind, command, description, given, flags=FLAGS)
    say_settings(job)
    check_early(job, writes=not dry)
    return Asked(job, dry, processes)


def say_results(folder: RunFolder, name: str = "model") -> None:
    """Print where the model and the report of a finished run lie."""
    width = max(len(name), len("report")) + 2
    say(f"{name:<{width}}{folder.model}")
    if folder.report.exists():
        say(f"{'report':<{width}}{folder.report}")


def _processes(arguments: Sequence[str]) -> tuple[list[str], int | None]:
    """Return the arguments without `--processes N` or `--processes=N`, and the number."""
    words = [part for word in arguments for part in (word.split("=") if word.startswith("--processes=") else [word])]
    if "--processes" not in words:
        return words, None
    place = words.index("--processes")
    number = words[place + 1] if len(words) > place + 1 else "missing"
    if not number.isdecimal() or number == "0":
        raise ConfigError(f"the number after --processes is {number}; expected 1 or more")
    return words[:place] + words[place + 2 :], int(number)
