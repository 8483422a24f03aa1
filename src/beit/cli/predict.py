"""`beit predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from beit.cli.output import say
from beit.cli.parser import Setting, SettingsParser
from beit.errors import ConfigError
from beit.inference.tasks.options import Option
from beit.inference.tasks.registry import TASKS, task_options
from beit.settings.predict import PredictJob

if TYPE_CHECKING:
    from beit.inference.jobs.chunk import Chunk

DESCRIPTION = (
    "Ask a model about pictures: files, folders, films, tar or parquet shards. Without --output the results are "
    "printed. With it they are written to a file (.jsonl, .csv or .parquet) or a folder of pictures; started again "
    "after a stop, the same command continues. A broken picture is named, and the others are still done."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, predict, print."""
    words, skip = ("model", "pictures"), ("task", "options")
    parser = SettingsParser(PredictJob, "beit predict", DESCRIPTION, words, skip=skip, more=_task_settings())
    values = parser.values(arguments)
    options = {option.name: values.pop(option.name) for option in _options().values()}
    return _run(parser.build({**values, "options": _chosen(values["task"], options)}))


def _options() -> dict[str, Option]:
    """Return the options of all tasks; one that several tasks have is there once."""
    return {option.name: option for _, option in reversed(task_options())}


def _task_settings() -> list[Setting]:
    """Return the task and the options of all tasks as job."""
    tasks: Any = Literal[tuple(TASKS)]
    settings = [Setting("task", tasks, "classify", "What to find out about each picture.")]
    for option in reversed(_options().values()):
        owners = ", ".join(task for task, one in task_options() if one.name == option.name)
        about = f"{owners}: {option.about[0].lower()}{option.about[1:]}"
        settings.append(Setting(option.name, option.kind, option.default, about))
    return settings


def _chosen(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a task among those of all.

    Raises:
        ConfigError: If an option of another task was given.
    """
    own = {option.name for name, option in task_options() if name == task}
    for name, option in task_options():
        if option.name not in own and options[option.name] != option.default:
            raise ConfigError(f"--{option.name} is an option of {name}, and --task is {task}; leave it out")
    return {name: options[name] for name in own}


def _run(job: PredictJob) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from beit.inference.jobs.job import run_job

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"beit predict: {job.task}", total=None)

        def show(chunk: Chunk) -> None:
            progress.update(bar, advance=len(chunk.rows) + len(chunk.broken))
            for _, reason in chunk.broken:
                print(f"beit: {reason}", file=sys.stderr)
            if job.json or job.output is None:
                for row in chunk.rows:
                    print(json.dumps(row) if job.json else TASKS[job.task].line(row), flush=True)

        summary = run_job(job, lambda pictures: progress.update(bar, total=pictures), show)
    if job.output is not None and not job.json:
        counted = f"{summary.pictures:,} picture{'s' * (summary.pictures != 1)} in {job.output}"
        say(counted + (f"; {len(summary.broken):,} broken" if summary.broken else ""))
    return 1 if summary.broken else 0
