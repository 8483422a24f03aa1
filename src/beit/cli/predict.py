"""`beit predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from beit.cli.output import say
from beit.cli.parser import new_parser, parse
from beit.errors import ConfigError
from beit.inference.tasks.registry import TASKS, task_options

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from beit.inference.jobs.chunk import Chunk

DESCRIPTION = (
    "Ask a model about pictures: files, folders, films, tar or parquet shards. Without --output the results are "
    "printed. With it they are written to a file (.jsonl, .csv or .parquet) or a folder of pictures; started again "
    "after a stop, the same command continues. A broken picture is named, and the others are still done."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, predict, print."""
    parser = new_parser("beit predict", DESCRIPTION)
    parser.add_argument("model", type=str, help="Model folder, file of weights, published name or exported folder.")
    parser.add_argument("places", type=str, nargs="+", help="Pictures: files, folders, films, tar or parquet shards.")
    tasks: Any = Literal[tuple(TASKS)]
    parser.add_argument("--task", type=tasks, default="classify", help="What to find out about each picture.")
    parser.add_argument("--output", type=str, help="File or folder to write.")
    formats = Literal["auto", "jsonl", "csv", "parquet", "pictures"]
    parser.add_argument("--format", type=formats, default="auto", help="Of the output; auto: that of its ending.")
    _add_task_options(parser)
    parser.add_argument("--tokenizer", type=str, help="reconstruct: folder, file or name of the tokenizer.")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto.")
    parser.add_argument("--batch_size", type=int, default=32, help="Pictures computed together.")
    parser.add_argument("--precision", type=str, default="fp32", help="fp32, bf16 or, on a GPU, fp16.")
    parser.add_argument("--workers", type=int, default=2, help="Threads that read pictures; processes of ray.")
    parser.add_argument("--engine", type=Literal["local", "ray"], default="local", help="This process, or a cluster.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object per picture, for other programs.")
    settings = parse(parser, arguments)
    return _run(settings)


def _add_task_options(parser: ArgumentParser) -> None:
    """Add the options of every task; one that several tasks have is added once."""
    owners: dict[str, list[str]] = {}
    for task, option in task_options():
        owners.setdefault(option.name, []).append(task)
    for task, option in task_options():
        if owners[option.name][0] == task:
            about = f"{', '.join(owners[option.name])}: {option.about[0].lower()}{option.about[1:]}"
            parser.add_argument(f"--{option.name}", type=option.kind, default=option.default, help=about)


def _chosen_options(settings: Any) -> dict[str, Any]:
    """Return the options of the task that is asked for.

    Raises:
        ConfigError: If an option of another task was given.
    """
    own = {option.name for task, option in task_options() if task == settings.task}
    for task, option in task_options():
        if option.name not in own and settings[option.name] != option.default:
            raise ConfigError(f"--{option.name} is an option of {task}, and --task is {settings.task}; leave it out")
    return {name: settings[name] for name in own}


def _run(settings: Any) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from beit.inference.jobs.job import PredictJob, run_job

    job = PredictJob(
        model=settings.model, places=tuple(settings.places), task=settings.task, options=_chosen_options(settings),
        output=settings.output, form=settings.format, tokenizer=settings.tokenizer, device=settings.device,
        batch_size=settings.batch_size, precision=settings.precision, workers=settings.workers, engine=settings.engine,
    )  # fmt: skip
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"beit predict: {settings.task}", total=None)

        def show(chunk: Chunk) -> None:
            progress.update(bar, advance=len(chunk.rows) + len(chunk.broken))
            for _, reason in chunk.broken:
                print(f"beit: {reason}", file=sys.stderr)
            if settings.json or settings.output is None:
                for row in chunk.rows:
                    print(json.dumps(row) if settings.json else TASKS[settings.task].line(row), flush=True)

        summary = run_job(job, lambda pictures: progress.update(bar, total=pictures), show)
    if settings.output is not None and not settings.json:
        counted = f"{summary.pictures:,} picture{'s' * (summary.pictures != 1)} in {settings.output}"
        say(counted + (f"; {len(summary.broken):,} broken" if summary.broken else ""))
    return 1 if summary.broken else 0
