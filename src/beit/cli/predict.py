"""`beit predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Literal

from beit.cli.early_checks import are_pictures, check_models, check_pictures
from beit.cli.output import say
from beit.cli.parser import Setting, SettingsParser
from beit.errors import ConfigError, printable
from beit.inference.tasks.options import Option
from beit.inference.tasks.registry import TASKS, task_options
from beit.settings.predict import PredictJob

if TYPE_CHECKING:
    from beit.inference.jobs.chunk import Chunk

DESCRIPTION = (
    "Ask a model about pictures: files, folders, films, tar or parquet shards. Where pictures come first, a "
    "small model of the package is asked. Without --output the results are printed. With it they are written to a "
    "file (.jsonl, .csv or .parquet; embeddings .npy or .safetensors too) or a folder of pictures; started again after "
    "a stop, the same command continues. A broken picture is named, and the others are still done."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, predict, print."""
    words, skip = ("model", "pictures"), ("task", "options")
    parser = SettingsParser(
        PredictJob, "beit predict", DESCRIPTION, words, skip=skip, more=_task_settings(), without_first=are_pictures
    )
    values = parser.values(arguments)
    options = {name: values.pop(name) for name in _owned()}
    job: PredictJob = parser.build({**values, "options": _chosen(values["task"], options)})
    check_models(job.model)
    check_pictures(*job.pictures)
    return _run(job)


def _owned() -> dict[str, list[tuple[str, Option]]]:
    """Return the options of all tasks by name, each with the tasks that have it."""
    owned: dict[str, list[tuple[str, Option]]] = {}
    for task, option in task_options():
        owned.setdefault(option.name, []).append((task, option))
    return owned


def _task_settings() -> list[Setting]:
    """Return the task and the options of all tasks as settings; one that several tasks have is there once."""
    tasks: Any = Literal[tuple(TASKS)]
    settings = [Setting("task", tasks, PredictJob.task, "What to find out about each picture.")]
    for name, owners in _owned().items():
        kind = reduce(or_, dict.fromkeys(option.kind for _, option in owners))
        settings.append(Setting(name, kind, _default(owners), _about(owners)))
    return settings


def _default(owners: Sequence[tuple[str, Option]]) -> Any:
    """Return the default of an option; None where tasks differ, each of which then takes its own."""
    default = owners[0][1].default
    return default if all(option.default == default for _, option in owners) else None


def _about(owners: Sequence[tuple[str, Option]]) -> str:
    """Return what an option is about, with the tasks that have it."""
    tasks: dict[str, list[str]] = {}
    for task, option in owners:
        tasks.setdefault(option.about, []).append(task)
    return " ".join(f"{', '.join(names)}: {about[0].lower()}{about[1:]}" for about, names in tasks.items())


def _chosen(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a task that were given.

    Raises:
        ConfigError: If an option of another task was.
    """
    owned = _owned()
    given = {name: value for name, value in options.items() if value != _default(owned[name])}
    for name in given:
        owners = [owner for owner, _ in owned[name]]
        if task not in owners:
            raise ConfigError(f"--{name} is an option of {', '.join(owners)}, and --task is {task}; leave it out")
    return given


def _run(job: PredictJob) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from beit.inference.jobs.job import run_job

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"beit predict: {job.task}", total=None)
        printed = 0

        def show(chunk: Chunk) -> None:
            nonlocal printed
            progress.update(bar, advance=len(chunk.rows) + len(chunk.broken))
            for _, reason in chunk.broken:
                print(f"beit: {printable(reason)}", file=sys.stderr)
            if job.json or job.output is None:
                printed += len(chunk.rows)
                for row in chunk.rows:
                    print(
                        json.dumps(row) if job.json else printable(TASKS[job.task].line(row), keep="\n\t"), flush=True
                    )

        summary = run_job(job, lambda pictures: progress.update(bar, total=pictures), show)
    if job.output is not None and not job.json:
        counted = f"{summary.pictures:,} picture{'s' * (summary.pictures != 1)} in {job.output}"
        say(counted + (f"; {len(summary.broken):,} broken" if summary.broken else ""))
    if job.json and (before := summary.pictures - printed):
        pictures = f"{before:,} picture{'s' * (before != 1)}"
        print(f"beit: {pictures} done before by this command, printed then; {job.output} has them", file=sys.stderr)
    if summary.gone:
        again = "put them back, and the same command does the rest"
        print(f"beit: pictures have gone while they were read; {again}", file=sys.stderr)
    return 1 if summary.broken else 0
